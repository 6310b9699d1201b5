package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
)

// bot is a core on a real store, with legs without a network: #dev and #ops.
type bot struct {
	t     *testing.T
	store *Store
	core  *bridge.Core
	irc   *bridgetest.Leg
	stop  func()
}

var ops = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#ops"}

func startBot(t *testing.T, cfg Config, now func() time.Time) *bot {
	t.Helper()
	cfg.Key = testKey
	s, err := Open(cfg, Deps{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	b := &bot{t: t, store: s, irc: bridgetest.NewLeg("corp", "irc")}
	b.core, err = bridge.New(bridge.Config{
		Legs:     []bridge.Leg{b.irc},
		Bridges:  []bridge.BridgeConfig{{Name: "dev", Rooms: []bridge.RoomConfig{{Room: dev}, {Room: ops}}}},
		Location: time.UTC,
	}, bridge.Deps{Journal: s, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.core.Run(ctx) }()
	stopped := false
	b.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(b.stop)
	return b
}

func (b *bot) say(room bridge.Room, text string, taken func(bool)) {
	b.t.Helper()
	m := bridge.Message{ID: text, Room: room, From: bridge.Sender{Nick: "carol"}, Text: bridge.NewText(text), Time: time.Now(), Taken: taken}
	if err := b.irc.Take(m); err != nil {
		b.t.Fatal(err)
	}
}

// heard are the texts sent since the last call, the bot's own words apart.
func (b *bot) heard() (lines, own []string) {
	for _, m := range b.irc.TakeSent() {
		if m.Notice {
			own = append(own, m.Text.Reveal())
		} else {
			lines = append(lines, strings.TrimPrefix(m.Text.Reveal(), "<carol@irc> "))
		}
	}
	return lines, own
}

// balanced compares the core's ledger with that of the store, and both with the rows.
func (b *bot) balanced() bridge.Ledger {
	b.t.Helper()
	l := b.core.Status().Bridges[0].Ledger
	kept, err := ledgers(b.t.Context(), b.store.read)
	if err != nil {
		b.t.Fatal(err)
	}
	if k := kept["dev"]; k != l || !l.Balanced() {
		b.t.Errorf("core %+v\nstore %+v", l, k)
	}
	if names, err := unbalanced(b.t.Context(), b.store.read); err != nil || len(names) > 0 {
		b.t.Errorf("unbalanced %v, %v", names, err)
	}
	return l
}

// TestHourOutage: a channel that is away for an hour gets one digest line and then,
// at its own pace, every line with its time, in order; over a restart, and with the
// clock an hour ahead or back after it.
func TestHourOutage(t *testing.T) {
	for _, jump := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				b := startBot(t, Config{Dir: dir}, time.Now)
				b.irc.SetError(ops, bridge.ErrNotReady)
				var want []string
				for i := range 120 {
					text := fmt.Sprintf("%03d", i)
					b.say(dev, text, nil)
					want = append(want, text)
					time.Sleep(30 * time.Second)
				}
				synctest.Wait()
				if lines, own := b.heard(); len(lines)+len(own) != 0 {
					t.Errorf("sent while it is away: %v %v", lines, own)
				}
				if l := b.balanced(); l.Waiting != 120 {
					t.Errorf("ledger %+v", l)
				}
				b.stop()

				b = startBot(t, Config{Dir: dir}, func() time.Time { return time.Now().Round(0).Add(jump) })
				b.irc.SetError(ops, bridge.ErrNotReady)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if l := b.balanced(); l.Waiting != 120 || l.Bounced != 0 {
					t.Errorf("after the restart: %+v", l)
				}
				b.irc.SetError(ops, nil)
				if err := b.irc.RoomUp(ops); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				lines, own := b.heard()
				if jump >= 0 && (len(own) != 1 || !strings.Contains(own[0], "lines said between 1 Jan 00:00 and 1 Jan 00:59 waited to get here; they follow.") || len(lines) > 3) {
					t.Errorf("at first %v, %d lines", own, len(lines))
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				more, _ := b.heard()
				lines = append(lines, more...)
				for i, line := range lines {
					mark, text, late := strings.Cut(line, " ")
					if !late {
						text = line
					}
					if said := fmt.Sprintf("(00:%02d)", i/2); jump >= 0 && mark != said || text != want[i] {
						t.Errorf("line %d is %q, want %s %s", i, line, said, want[i])
					}
				}
				if l := b.balanced(); len(lines) != 120 || l.Relayed != 120 || l.Waiting != 0 {
					t.Errorf("%d lines, ledger %+v", len(lines), l)
				}
				b.stop()
			})
		})
	}
}

// TestParkedAndRetried: what is parked outlives the bot, comes back in its place
// when an admin retries it, and is gone when dropped; the ledgers agree all along.
func TestParkedAndRetried(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := startBot(t, Config{Dir: dir}, time.Now)
		b.irc.Refuse(func(m bridge.Outgoing) error {
			if strings.Contains(m.Text.Reveal(), "poison") {
				return errors.New("404 cannot send")
			}
			return nil
		})
		for _, text := range []string{"a", "poison 1", "poison 2", "poison 3", "b"} {
			b.say(dev, text, nil)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if lines, _ := b.heard(); !slices.Equal(lines, []string{"a", "b"}) {
			t.Errorf("sent %v", lines)
		}
		if l := b.balanced(); l.Dead != 3 {
			t.Errorf("ledger %+v", l)
		}
		b.stop()

		b = startBot(t, Config{Dir: dir}, time.Now)
		parked, err := b.store.Parked(t.Context())
		if err != nil || len(parked) != 3 || parked[0].Reason != "404 cannot send" || parked[0].To != ops {
			t.Fatalf("parked %+v, %v", parked, err)
		}
		b.irc.SetError(ops, bridge.ErrNotReady)
		b.say(dev, "c", nil)
		synctest.Wait()
		if n, err := b.store.Drop(t.Context(), []uint64{parked[1].Seq}); n != 1 || err != nil {
			t.Errorf("dropped %d, %v", n, err)
		}
		for _, p := range []Parked{parked[0], parked[2], parked[1]} {
			row, err := b.store.Retry(t.Context(), p.Seq)
			if err != nil || (row == nil) != (p.Seq == parked[1].Seq) {
				t.Fatalf("retry %d: %v, %v", p.Seq, row, err)
			}
			if row != nil {
				b.core.Requeue(row)
			}
		}
		if l := b.balanced(); l.Dead != 1 || l.Waiting != 3 {
			t.Errorf("ledger %+v", l)
		}
		b.irc.SetError(ops, nil)
		if err := b.irc.RoomUp(ops); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if lines, _ := b.heard(); !slices.Equal(lines, []string{"poison 1", "poison 3", "c"}) {
			t.Errorf("sent %v", lines)
		}
		if l := b.balanced(); l.Dead != 1 || l.Waiting != 0 || l.Relayed != 5 {
			t.Errorf("ledger %+v", l)
		}
		b.stop()
	})
}

// TestLostRowsBalance: rows whose day key is gone are counted as dead, in the core's
// ledger as in the store's.
func TestLostRowsBalance(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := startBot(t, Config{Dir: dir}, time.Now)
		b.irc.SetError(ops, bridge.ErrNotReady)
		for i := range 5 {
			b.say(dev, fmt.Sprint(i), nil)
		}
		synctest.Wait()
		b.stop()
		keys, err := filepath.Glob(filepath.Join(dir, keyFolder, "*"+keySuffix))
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		if err := os.Remove(keys[0]); err != nil {
			t.Fatal(err)
		}
		b = startBot(t, Config{Dir: dir}, time.Now)
		synctest.Wait()
		if l := b.balanced(); l.Dead != 5 || l.Waiting != 0 {
			t.Errorf("ledger %+v", l)
		}
		b.stop()
	})
}

// TestFullDiskUnderTheCore: while the disk is full nothing is acknowledged; what
// was taken in before leaves all the same, on the store's reserve. Once there is
// room, everything goes on: nothing is lost, nothing twice.
func TestFullDiskUnderTheCore(t *testing.T) {
	disk := mountTmpfs(t, "12m")
	b := startBot(t, Config{Dir: filepath.Join(disk, "store")}, time.Now)
	b.irc.SetError(ops, bridge.ErrNotReady)
	taken := make(chan string, 1000)
	said := 0
	say := func(n int) {
		for range n {
			text := fmt.Sprintf("%04d %s", said, strings.Repeat("x", 300))
			said++
			b.say(dev, text, func(ok bool) {
				if ok {
					taken <- text[:4]
				}
			})
		}
	}
	acknowledged := map[string]bool{}
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); {
			select {
			case id := <-taken:
				acknowledged[id] = true
			case <-time.After(20 * time.Millisecond):
			}
			if time.Now().After(end) {
				t.Fatalf("not in time: %s; acknowledged %d of %d, problem %q", what, len(acknowledged), said, b.store.Stats().Problem)
			}
		}
	}
	say(100)
	await("the first hundred", func() bool { return len(acknowledged) == 100 })
	ballast := filepath.Join(disk, "ballast")
	if err := exec.Command("dd", "if=/dev/zero", "of="+ballast, "bs=4k").Run(); err == nil {
		t.Fatal("the disk takes everything")
	}
	say(500) // the WAL has a little room of its own, at first
	await("the disk is full", func() bool { return strings.Contains(b.store.Stats().Problem, ErrFull.Error()) })
	before := len(acknowledged)
	if before == said {
		t.Fatal("everything was acknowledged on a full disk")
	}
	b.irc.SetError(ops, nil)
	if err := b.irc.RoomUp(ops); err != nil {
		t.Fatal(err)
	}
	await("what was taken in leaves and ends", func() bool {
		l := b.core.Status().Bridges[0].Ledger
		return l.Relayed >= uint64(before) && b.store.Stats().Rows == 0
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	await("the others, with room again", func() bool {
		return len(acknowledged) == said && b.core.Status().Bridges[0].Ledger.Relayed == uint64(said) && b.store.Stats().Rows == 0
	})
	lines, _ := b.heard()
	for i, line := range lines {
		if want := fmt.Sprintf("%04d", i); line[:4] != want {
			t.Fatalf("line %d is %s", i, line[:4])
		}
	}
	if len(lines) != said {
		t.Errorf("%d lines of %d", len(lines), said)
	}
	b.balanced()
	b.stop()
}

// TestAuditAndTrace: accounts add up in the running store and in its file, and a
// message is found by each of its ids.
func TestAuditAndTrace(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	a, b := testRow("wire-a", "text"), testRow("wire-b", "text")
	e := testEntry("src-1", a, b)
	e.Counts = []bridge.Count{{Bridge: "dev", Copies: 2}}
	mustIngest(t, s, e)
	done := []bridge.Done{{Seq: a.Seq, Bridge: "dev", Fate: bridge.FateRelayed, NetID: "net-a"}, {Seq: b.Seq, Bridge: "dev", Fate: bridge.FateDead, Reason: "404"}}
	if err := s.Confirm(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][]string{
		"src-1": {"wire-a delivered", "wire-b parked"}, "wire-a": {"wire-a delivered"}, "net-a": {"wire-a delivered"}, "wire-b": {"wire-b parked"}, "other": nil, "": nil,
	} {
		traces, err := s.Trace(t.Context(), id)
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, tr := range traces {
			if tr.From != dev || tr.To != alice || tr.ID != "src-1" || tr.At.IsZero() {
				t.Errorf("%q: %+v", id, tr)
			}
			got = append(got, tr.WireID+" "+tr.State)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", id, got, want)
		}
	}
	check := func(got []Account, err error) {
		t.Helper()
		if err != nil || len(got) != 1 || !got[0].Balanced || got[0].Parked != 1 || got[0].Rows != 0 || got[0].Ledger.Relayed != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	check(s.Audit(t.Context()))
	if _, err := Audit(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is open: %v", err)
	}
	if _, err := s.read.Exec("DELETE FROM outbox"); err == nil {
		t.Error("a reader can write")
	}
	_ = s.Close()
	check(Audit(t.Context(), Config{Dir: dir}))
	if _, err := Audit(t.Context(), Config{Dir: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no store: %v", err)
	}
}
