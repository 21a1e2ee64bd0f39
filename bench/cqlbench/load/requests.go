package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"strings"

	"zdm-proxy/bench/content"
)

const (
	writeText = "INSERT INTO ks.t (k, v) VALUES (?, ?)"
	readText  = "SELECT k, v FROM ks.t WHERE k = ?"
	children  = 10 // of a batch
)

var void = []byte{0, 0, 0, 1}

// request is one that is sent, and what makes a right answer to it.
type request struct {
	opcode  byte
	body    []byte
	isWrite bool
	sum     uint64
	answer  []byte // nil: any RESULT
}

func frame(op byte, stream uint16, body []byte) []byte {
	f := make([]byte, 0, 9+len(body))
	f = append(f, 4, 0, byte(stream>>8), byte(stream), op)
	f = binary.BigEndian.AppendUint32(f, uint32(len(body)))
	return append(f, body...)
}

func lstr(s string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(s)))
	return append(b, s...)
}

func readFrame(r *bufio.Reader, body []byte) (op byte, stream uint16, b []byte, err error) {
	var h [9]byte
	if _, err = io.ReadFull(r, h[:]); err != nil {
		return
	}
	n := int(binary.BigEndian.Uint32(h[5:]))
	if n > len(body) {
		body = make([]byte, n)
	}
	_, err = io.ReadFull(r, body[:n])
	return h[4], binary.BigEndian.Uint16(h[2:]), body[:n], err
}

// ask sends one request and waits for its answer; the program ends where that is not of the opcode expected.
func ask(c net.Conn, r *bufio.Reader, op byte, body []byte, expected byte) []byte {
	c.Write(frame(op, 0, body))
	o, _, answer, err := readFrame(r, nil)
	if err != nil {
		log.Fatal("handshake: ", err)
	}
	if o != expected {
		log.Fatalf("handshake: the answer to opcode %d is %d: %q", op, o, answer)
	}
	return answer
}

func startup(c net.Conn, r *bufio.Reader) {
	ask(c, r, 1, append([]byte{0, 1, 0, 11}, "CQL_VERSION\x00\x053.0.0"...), 2)
}

// prepare returns the id with its length before it, as an EXECUTE begins.
func prepare(c net.Conn, r *bufio.Reader, text string) []byte {
	answer := ask(c, r, 9, lstr(text), 8)
	return answer[4 : 6+binary.BigEndian.Uint16(answer[4:])]
}

func withValues(b []byte, vals ...[]byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(vals)))
	for _, v := range vals {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

func execute(id []byte, vals ...[]byte) []byte {
	return withValues(append(append([]byte{}, id...), 0, 6, 1), vals...)
}

func named(id []byte, k, v []byte) []byte {
	b := append(append([]byte{}, id...), 0, 6, 0x41, 0, 2, 0, 1, 'k')
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(k))), k...)
	b = append(b, 0, 1, 'v')
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func batch(id []byte, vals ...[]byte) []byte {
	b := []byte{1, 0, children} // unlogged
	for i := 0; i < children; i++ {
		b = withValues(append(append(b, 1), id...), vals...)
	}
	return append(b, 0, 6, 0)
}

// inline is an INSERT with its value in the text, different for each number.
func inline(number, size int) []byte {
	const text = "INSERT INTO ks.t (k, v) VALUES ('key', 'value %010d of a usual length for a text column, never twice the same%s')"
	return append(lstr(fmt.Sprintf(text, number, strings.Repeat("x", max(0, size-100)))), 0, 6, 0)
}

func sealed(op byte, body []byte, isWrite bool, answer []byte) request {
	sum, _, _ := content.Sum(op, body)
	return request{op, body, isWrite, sum, answer}
}

// workload returns what makes the request of each number, for the ids that this connection was given. `row` is the
// right answer to a read.
func workload(mode string, c net.Conn, r *bufio.Reader, size int, row []byte) func(int) *request {
	key, value := []byte("key"), make([]byte, size)
	writeID, readID := prepare(c, r, writeText), prepare(c, r, readText)
	write := sealed(content.Execute, execute(writeID, key, value), true, void)
	read := sealed(content.Execute, execute(readID, key), false, row)
	switch mode {
	case "write":
		return func(int) *request { return &write }
	case "read":
		return func(int) *request { return &read }
	case "mix":
		return func(i int) *request {
			if i%2 == 0 {
				return &write
			}
			return &read
		}
	case "named":
		write = sealed(content.Execute, named(writeID, key, value), true, void)
		return func(int) *request { return &write }
	case "batch":
		write = sealed(content.Batch, batch(writeID, key, value), true, void)
		return func(int) *request { return &write }
	case "query":
		return func(i int) *request {
			made := sealed(content.Query, inline(i, size), true, void)
			return &made
		}
	}
	log.Fatalf("no mode %q", mode)
	return nil
}

// rightRow asks a cluster itself for the answer to a read, and returns it and the checksum of the question.
func rightRow(address string) ([]byte, uint64) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	startup(c, r)
	asked := sealed(content.Execute, execute(prepare(c, r, readText), []byte("key")), false, nil)
	return ask(c, r, asked.opcode, asked.body, 8), asked.sum
}
