package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/bridgetest"
	"drawbridge/internal/config"
)

// fakes makes legs that connect to nothing, and remembers what they were told.
type fakes struct {
	made    []string // names, in the order they were made
	applied []string // "name: nick or JID"
	rekeyed int
	refuse  error // what building a leg fails with
}

func (f *fakes) build(c *config.Config, _ *keys, name string) (leg, error) {
	if f.refuse != nil {
		return leg{}, f.refuse
	}
	f.made = append(f.made, name)
	proto, identity := "irc", func(c *config.Config) string { return c.Network(name).Nick }
	if c.Network(name) == nil {
		proto, identity = "xmpp", func(c *config.Config) string { return c.Account(name).JID }
	}
	return leg{
		Leg: bridgetest.NewLeg(name, proto), proto: proto,
		apply:       func(c *config.Config) error { f.applied = append(f.applied, name+": "+identity(c)); return nil },
		keysChanged: func() { f.rekeyed++ },
	}, nil
}

// liveBot is a bot with fake legs on a working configuration; edit changes the
// configuration file, and the bot is running while test runs.
func liveBot(t *testing.T, test func(b *bot, f *fakes, edit func(old, new string))) {
	t.Helper()
	dir := t.TempDir()
	if _, err := makeHouse(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "drawbridge.yaml")
	c, err := config.Load(path, loadOptions())
	if err != nil {
		t.Fatal(err)
	}
	k, err := openKeys(c, nil, nil, newQuiet())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		log, level := newLogger(t.Output(), "text", "info")
		b, err := newBot(c, k, f.build, nil, log, level)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.core.Run(ctx) }()
		synctest.Wait()
		test(b, f, func(old, new string) {
			if err := substitute(path, old, new); err != nil {
				t.Fatal(err)
			}
		})
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func rooms(b *bot) (out []string) {
	for _, br := range b.core.Status().Bridges {
		for _, q := range br.Rooms {
			out = append(out, q.Room.String())
		}
	}
	return out
}

func TestReloadKeepsLegsThatStay(t *testing.T) {
	liveBot(t, func(b *bot, f *fakes, edit func(old, new string)) {
		before := b.legs
		edit("people: [alice, bob]", "people: [alice]")
		edit(`nick: bridge`, `nick: other`)
		edit("bridges:", "bridges:\n  ops: {irc: [{network: corp, channel: \"#ops\"}, {network: corp, channel: \"#ops2\"}]}")
		ch, err := b.reload()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(b.legs[0].Leg, before[0].Leg) || b.legs[0].Leg != before[0].Leg || b.legs[1].Leg != before[1].Leg {
			t.Error("a leg that stayed was replaced")
		}
		if want := []string{"corp: other", "bot: bot@corp.example"}; !reflect.DeepEqual(f.applied, want) {
			t.Errorf("applied %q, want %q", f.applied, want)
		}
		if want := []string{"corp/#ops", "corp/#ops2", "corp/#dev", "bot/alice"}; !reflect.DeepEqual(rooms(b), want) {
			t.Errorf("rooms %q, want %q", rooms(b), want)
		}
		if want := []string{"ops"}; !reflect.DeepEqual(ch.Core.BridgesAdded, want) || len(ch.Core.LegsStarted)+len(ch.Core.LegsStopped) != 0 {
			t.Errorf("core says %+v", ch.Core)
		}
		lines := strings.Join(ch.lines(), "\n")
		for _, want := range []string{"networks.corp.nick: bridge → other", "+ bridges.ops", "bridges.dev: - person bob"} {
			if !strings.Contains(lines, want) {
				t.Errorf("the difference lacks %q:\n%s", want, lines)
			}
		}
	})
}

func TestReloadAddsAndRemovesLegs(t *testing.T) {
	liveBot(t, func(b *bot, f *fakes, edit func(old, new string)) {
		edit("accounts:", "  open: {server: \"127.0.0.1:2\", nick: bridge}\naccounts:")
		edit(`irc: [{network: corp, channel: "#dev"}]`, `irc: [{network: open, channel: "#dev"}]`)
		ch, err := b.reload()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(ch.Core.LegsStarted, []string{"open"}) || !reflect.DeepEqual(ch.Core.LegsStopped, []string{"corp"}) {
			t.Errorf("core says %+v", ch.Core)
		}
		if want := []string{"bot: bot@corp.example"}; !reflect.DeepEqual(f.applied, want) {
			t.Errorf("applied %q, want %q", f.applied, want)
		}
		if len(b.legs) != 2 || b.legs[0].Name() != "open" {
			t.Errorf("legs %v", b.legs)
		}
	})
}

func TestBadReloadChangesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		old, new string
		refuse   error
		want     string
	}{
		"a mistake in the file":   {"nick: bridge", "nik: bridge", nil, "networks.corp.nik"},
		"a key that is not there": {"[keys/]", "[nokeys/]", nil, "keyring.paths"},
		"a leg that cannot be":    {"nick: bridge", "nick: other", errors.New("no such leg"), "no such leg"},
	} {
		t.Run(name, func(t *testing.T) {
			liveBot(t, func(b *bot, f *fakes, edit func(old, new string)) {
				cfg, k, legs, table := b.cfg, b.keys, b.legs, rooms(b)
				edit("people: [alice, bob]", "people: [alice]")
				edit(tt.old, tt.new)
				f.refuse = tt.refuse
				_, err := b.reload()
				if !errors.Is(err, errReload) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("reload = %v, want something about %q", err, tt.want)
				}
				if b.cfg != cfg || b.keys != k || &b.legs[0] != &legs[0] || !reflect.DeepEqual(rooms(b), table) || len(f.applied) > 0 {
					t.Error("something changed all the same")
				}
			})
		})
	}
}

func TestReloadSwapsTheBotsOwnKey(t *testing.T) {
	liveBot(t, func(b *bot, f *fakes, edit func(old, new string)) {
		scheme := b.keys.accounts["bot"]
		old := scheme.Secret().Fingerprint()
		dir := filepath.Dir(b.path)
		fpr, err := makeKey(filepath.Join(dir, "secrets/new.asc"), "bot@corp.example", []byte("open sesame"), 0)
		if err != nil {
			t.Fatal(err)
		}
		edit("secrets/bot.asc", "secrets/new.asc")
		ch, err := b.reload()
		if err != nil {
			t.Fatal(err)
		}
		if b.keys.accounts["bot"] != scheme {
			t.Error("the scheme was replaced: its replay memory is lost")
		}
		if got := scheme.Secret().Fingerprint(); got != fpr || got == old {
			t.Errorf("the key is %s, want %s", got, fpr)
		}
		if !strings.Contains(strings.Join(ch.lines(), "\n"), fpr) || f.rekeyed == 0 {
			t.Errorf("told %q, legs %d times", ch.lines(), f.rekeyed)
		}
	})
}

func TestKeyFilesArePolled(t *testing.T) {
	liveBot(t, func(b *bot, f *fakes, _ func(old, new string)) {
		dir := filepath.Join(filepath.Dir(b.path), "keys")
		b.pollKeys()
		if f.rekeyed != 0 {
			t.Error("keys read anew though nothing changed")
		}
		if _, err := makeKey(filepath.Join(dir, "carol"), "carol@corp.example", nil, 0); err != nil {
			t.Fatal(err)
		}
		b.pollKeys()
		if f.rekeyed != 2 || b.keys.ring.Len() != 3 {
			t.Errorf("%d legs told, %d keys", f.rekeyed, b.keys.ring.Len())
		}
		if err := os.WriteFile(filepath.Join(dir, "bad.asc"), []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.pollKeys()
		b.pollKeys()
		if f.rekeyed != 2 || b.keys.ring.Len() != 3 {
			t.Errorf("with a bad file: %d legs told, %d keys", f.rekeyed, b.keys.ring.Len())
		}
	})
}

func TestReadiness(t *testing.T) {
	room := func(k bridge.RoomKind, s bridge.State, proven bool) bridge.RoomStatus {
		return bridge.RoomStatus{Room: bridge.Room{Kind: k}, State: s, Proven: proven}
	}
	leg := func(s bridge.State, rooms ...bridge.RoomStatus) bridge.LegState {
		return bridge.LegState{LegStatus: bridge.LegStatus{State: s, Rooms: rooms}}
	}
	for _, tt := range []struct {
		name string
		legs []bridge.LegState
		want bool
	}{
		{"no legs", nil, false},
		{"all proven", []bridge.LegState{leg(bridge.StateUp, room(bridge.Channel, bridge.StateUp, true))}, true},
		{"an offline person does not count", []bridge.LegState{leg(bridge.StateUp, room(bridge.Chat, bridge.StateDown, false))}, true},
		{"joined, no echo yet", []bridge.LegState{leg(bridge.StateUp, room(bridge.MUC, bridge.StateUp, false))}, false},
		{"not joined", []bridge.LegState{leg(bridge.StateUp, room(bridge.Channel, bridge.StateRefused, true))}, false},
		{"one leg down", []bridge.LegState{leg(bridge.StateUp), leg(bridge.StateDown)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ready(bridge.Status{Legs: tt.legs}); got != tt.want {
				t.Errorf("ready = %v", got)
			}
		})
	}
}

func TestExpiryIsToldAtEachStep(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]int{
		31 * day: 0, 30 * day: 1, 8 * day: 1, 7 * day: 2, 25 * time.Hour: 2, 24 * time.Hour: 3, 1: 3, 0: 4, -time.Hour: 4,
	} {
		if got := warnStep(keyReport{Expires: now.Add(left)}, now); got != want {
			t.Errorf("%v left: step %d, want %d", left, got, want)
		}
	}
	if warnStep(keyReport{}, now) != 0 {
		t.Error("a key without expiry is warned of")
	}
}

// TestSystemdIsTold runs the bot as a service of type notify.
func TestSystemdIsTold(t *testing.T) {
	dir := t.TempDir()
	if _, err := makeHouse(dir); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("systemd never heard %s: %v", want, err)
			}
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	cmd := exec.Command("drawbridge", "run", "--config", filepath.Join(dir, "drawbridge.yaml"))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+sock, "WATCHDOG_USEC=100000")
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hears("READY=1\nSTATUS=0/2 legs up, 0/3 rooms up, 0 lines waiting")
	hears("WATCHDOG=1")
	_ = cmd.Process.Signal(syscall.SIGHUP)
	hears("RELOADING=1")
	hears("READY=1")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	hears("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
}

// A full disk or a closed pipe behind stdout is a failure.
func TestStdoutThatFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	var stderr strings.Builder
	if code := run([]string{"version"}, streams{nil, full, &stderr}); code != exitFailed || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}
