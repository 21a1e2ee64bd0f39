// Package content sums up what requests carry, apart from prepared ids, which a proxy may have to replace.
package content

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	Query   = 7
	Execute = 10
	Batch   = 13
)

var table = crc32.MakeTable(crc32.Castagnoli)

// Sum is a checksum of a request's body without prepared ids, and those ids. Not ok: the body is not one of its opcode.
// Sums are to be added up, so that the order of arrival does not matter.
func Sum(opcode byte, body []byte) (sum uint64, ids [][]byte, ok bool) {
	defer func() {
		if recover() != nil { // a length points beyond the body
			ok = false
		}
	}()
	switch opcode {
	case Execute:
		end := afterShort(body, 0)
		return uint64(crc32.Checksum(body[end:], table)), [][]byte{body[2:end]}, true
	case Batch:
		return sumBatch(body)
	}
	return uint64(crc32.Checksum(body, table)), nil, true
}

func sumBatch(body []byte) (uint64, [][]byte, bool) {
	ids := make([][]byte, 0, 16)
	sum, kept := uint32(0), 0 // what lies before `kept` is summed, or is an id
	at := 3
	for children := binary.BigEndian.Uint16(body[1:]); children > 0; children-- {
		kind := body[at]
		at++
		if kind == 0 {
			at += 4 + int(binary.BigEndian.Uint32(body[at:]))
		} else {
			sum = crc32.Update(sum, table, body[kept:at])
			kept = afterShort(body, at)
			ids = append(ids, body[at+2:kept])
			at = kept
		}
		values := binary.BigEndian.Uint16(body[at:])
		for at += 2; values > 0; values-- {
			at += 4 + max(0, int(int32(binary.BigEndian.Uint32(body[at:]))))
		}
	}
	return uint64(crc32.Update(sum, table, body[kept:])), ids, at <= len(body)
}

func afterShort(body []byte, at int) int {
	return at + 2 + int(binary.BigEndian.Uint16(body[at:]))
}
