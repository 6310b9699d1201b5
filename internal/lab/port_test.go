package lab

import "testing"

// A port that one lab has is no other's until its test ends.
func TestPortsAreReserved(t *testing.T) {
	a, b := New(t), New(t)
	port := a.Port()
	if b.reserve(port) {
		t.Errorf("two labs have port %d", port)
	}
	t.Run("over", func(t *testing.T) { port = New(t).Port() })
	if !b.reserve(port) {
		t.Errorf("port %d is kept for ever", port)
	}
}
