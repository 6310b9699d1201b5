package guard_test

import (
	"testing"

	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
)

func TestMemory(t *testing.T) {
	guardtest.Store(t, func(*testing.T) (guard.Store, func() guard.Store) {
		m := guard.NewMemory()
		return m, func() guard.Store { return m }
	})
}
