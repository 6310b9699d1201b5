package store

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"drawbridge/bridge"
)

// BenchmarkLedger takes messages through the store whole: taken in (known from
// now on, one sealed row) and confirmed (row gone, both ids noted), each
// committed to the disk. 1 and 64 messages are on their way at a time.
func BenchmarkLedger(b *testing.B) {
	for _, workers := range []int{1, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			s := openTest(b, Config{}, Deps{})
			text := strings.Repeat("a line of usual length ", 4)
			var next atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range workers {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						row := testRow(fmt.Sprintf("wire-%012d", i), text)
						row.Tried, row.Queued = time.Now(), time.Now()
						if err := s.Ingest(b.Context(), []*bridge.Entry{testEntry(fmt.Sprintf("id-%012d", i), row)}, nil); err != nil {
							b.Error(err)
							return
						}
						if err := s.Confirm(b.Context(), []bridge.Done{{Seq: row.Seq, ID: row.ID, To: row.To, Fate: bridge.FateRelayed, NetID: "net-0123456789"}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ledgers/s")
		})
	}
}

// BenchmarkLoad reads 50 000 waiting rows at a start.
func BenchmarkLoad(b *testing.B) {
	s := openTest(b, Config{}, Deps{})
	var rows []*bridge.Row
	for i := range 50_000 {
		rows = append(rows, testRow(fmt.Sprintf("wire-%012d", i), strings.Repeat("a line of usual length ", 4)))
	}
	mustIngest(b, s, testEntry("1", rows...))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := s.Load(b.Context(), func(*bridge.Row) error { n++; return nil }); err != nil || n != len(rows) {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkGroup takes messages through the store as a busy bridge does: twelve are
// taken in by a commit, which ends the twelve before.
func BenchmarkGroup(b *testing.B) {
	const group = 12
	s := openTest(b, Config{}, Deps{})
	text := strings.Repeat("a line of usual length ", 4)
	var done []bridge.Done
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.ResetTimer()
	for at := 0; at < b.N; at += group {
		var batch []*bridge.Entry
		for i := at; i < at+group; i++ {
			row := testRow(fmt.Sprintf("wire-%012d", i), text)
			row.Tried, row.Queued = time.Now(), time.Now()
			batch = append(batch, testEntry(fmt.Sprintf("id-%012d", i), row))
		}
		if err := s.Ingest(b.Context(), batch, done); err != nil {
			b.Fatal(err)
		}
		done = done[:0]
		for _, e := range batch {
			done = append(done, bridge.Done{Seq: e.Rows[0].Seq, ID: e.Rows[0].ID, To: e.Rows[0].To, Bridge: "dev", Fate: bridge.FateRelayed})
		}
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/line")
}
