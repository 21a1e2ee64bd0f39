package content

import "testing"

// execute is an EXECUTE with this id and one value.
func execute(id, value string) []byte {
	body := append([]byte{0, byte(len(id))}, id...)
	body = append(body, 0, 1, 1, 0, 1, 0, 0, 0, byte(len(value)))
	return append(body, value...)
}

// batch has a prepared child with this id, a text, and the prepared child again.
func batch(id, value string) []byte {
	body := []byte{0, 0, 3}
	child := append([]byte{1, 0, byte(len(id))}, id...)
	child = append(child, 0, 2, 255, 255, 255, 255, 0, 0, 0, byte(len(value))) // a null before it
	child = append(child, value...)
	body = append(body, child...)
	body = append(body, 0, 0, 0, 0, 3, 'U', 'P', 'D', 0, 0)
	return append(append(body, child...), 0, 1, 0)
}

func sum(t *testing.T, opcode byte, body []byte, ids int) uint64 {
	made, found, ok := Sum(opcode, body)
	if !ok || len(found) != ids {
		t.Fatalf("opcode %d: ok %v, ids %q", opcode, ok, found)
	}
	return made
}

func TestAnotherIdOfAnyLengthIsTheSameContent(t *testing.T) {
	if sum(t, Execute, execute("origin", "v"), 1) != sum(t, Execute, execute("the target's", "v"), 1) {
		t.Error("EXECUTE")
	}
	if sum(t, Batch, batch("origin", "v"), 2) != sum(t, Batch, batch("the target's", "v"), 2) {
		t.Error("BATCH")
	}
}

func TestAnotherValueIsNot(t *testing.T) {
	if sum(t, Execute, execute("id", "v"), 1) == sum(t, Execute, execute("id", "w"), 1) {
		t.Error("EXECUTE")
	}
	if sum(t, Batch, batch("id", "v"), 2) == sum(t, Batch, batch("id", "w"), 2) {
		t.Error("BATCH")
	}
}

func TestABodyThatEndsTooEarlyIsTold(t *testing.T) {
	for end := 0; end < len(batch("id", "v"))-3; end++ {
		if _, _, ok := Sum(Batch, batch("id", "v")[:end]); ok {
			t.Errorf("a BATCH of %d bytes", end)
		}
	}
	if _, _, ok := Sum(Execute, execute("id", "v")[:3]); ok {
		t.Error("EXECUTE")
	}
}
