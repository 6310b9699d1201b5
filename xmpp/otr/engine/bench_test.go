package engine

import (
	"runtime"
	"strings"
	"testing"
)

// TestMemory: what 500 conversations weigh, each in use by both sides, by what each of
// some does.
func TestMemory(t *testing.T) {
	const some = 50
	for name, ends := range versions() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			all := make([]ours, 0, some)
			for range some {
				c, peer := ends()
				talk(t, peer, c, c.commit())
				carry(t, c, peer, "x")
				carry(t, peer, c, "x")
				all = append(all, c)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(len(all))
			t.Logf("%d bytes each", each)
			if each > 60<<20/500 {
				t.Errorf("500 of them are more than 60 MiB: %d bytes each", each)
			}
			runtime.KeepAlive(all)
		})
	}
}

func BenchmarkHandshake(b *testing.B) {
	byVersion(b, func(b *testing.B, x, y ours) {
		for b.Loop() {
			talk(b, y, x, x.commit())
		}
	})
}

func BenchmarkOneWay(b *testing.B) {
	byVersion(b, func(b *testing.B, x, y ours) {
		for b.Loop() {
			carry(b, x, y, line)
		}
	})
}

// BenchmarkInTurns is of two lines, with new keys for each.
func BenchmarkInTurns(b *testing.B) {
	byVersion(b, func(b *testing.B, x, y ours) {
		for b.Loop() {
			carry(b, x, y, line)
			carry(b, y, x, line)
		}
	})
}

var line = strings.Repeat("a line ", 21)

func byVersion(b *testing.B, f func(b *testing.B, x, y ours)) {
	for _, name := range []string{"v2", "v3"} {
		b.Run(name, func(b *testing.B) {
			x, y := versions()[name]()
			talk(b, y, x, x.commit())
			f(b, x, y)
		})
	}
}
