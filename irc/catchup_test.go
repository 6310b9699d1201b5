package irc

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

func TestHistoryMode(t *testing.T) {
	for _, tt := range []struct {
		arg    string
		lines  int
		period time.Duration
		ok     bool
	}{
		{"50:1d", 50, 24 * time.Hour, true},
		{"5:1h30m", 5, 90 * time.Minute, true},
		{"5:90", 5, 90 * time.Second, true},
		{"100:0", 100, 100 * 365 * 24 * time.Hour, true},
		{"100:99999999y", 100, 100 * 365 * 24 * time.Hour, true},
		{"100:9999999999999", 0, 0, false},
		{"0:1h", 0, 0, false},
		{"5:1x", 0, 0, false},
		{"", 0, 0, false},
		{":1h", 0, 0, false},
	} {
		lines, period, ok := parseHistoryMode(tt.arg)
		if lines != tt.lines || period != tt.period || ok != tt.ok {
			t.Errorf("parseHistoryMode(%q) = %d, %s, %v", tt.arg, lines, period, ok)
		}
	}
}

// returning is a leg that was in #dev until `away` ago, and has taken `last` in.
func returning(t *testing.T, away time.Duration, last position) (*session, *shelf) {
	t.Helper()
	seen := time.Now().Add(-away)
	shelf := &shelf{kept: map[string]string{presenceCursor: fmt.Sprintf("s %d\nr 0 1000 #dev", seen.UnixMilli())}}
	if last.known() {
		shelf.kept[lineCursor+"#dev"] = last.cursor("#dev").Value
	}
	leg, err := New(Config{Name: "net", Servers: []string{"irc.test:6667"}, TLSOff: true, Nick: "bot", Channels: []ChannelConfig{{Name: "#dev"}}}, Deps{Cursors: shelf})
	if err != nil {
		t.Fatal(err)
	}
	if err := leg.mem.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSession(leg, leg.cfg, link{}, &feed{Reader: strings.NewReader("")}, (&deadEnd{}).Prove)
	s.begin()
	return s, shelf
}

// settleIn has the server answer every PING of the session.
func settleIn(s *session) {
	for range 8 {
		if s.unproven && !s.proving {
			s.proveRooms()
		}
		s.win.flush()
		conn := s.conn.(*feed)
		said := conn.wrote.String()
		conn.wrote.Reset()
		for line := range strings.SplitSeq(said, "\r\n") {
			if token, ok := strings.CutPrefix(line, "PING "); ok {
				s.handle([]byte("PONG irc.test :" + token))
			}
		}
	}
}

func stamp(at time.Time) string { return at.UTC().Format(serverTime) }

// TestReach: what a replay on join tells, and what it may not.
func TestReach(t *testing.T) {
	const (
		away   = 10 * time.Minute
		before = 20 * time.Minute // ago: the last line taken in
	)
	for _, tt := range []struct {
		name   string
		modes  string          // of #dev
		made   time.Duration   // ago
		replay []time.Duration // ago, each line's; negative: from the future
		known  bool            // the first of them is the last one taken in
		skew   time.Duration   // of the server's clock
		gap    time.Duration   // ago, its end; 0: none
		took   int
	}{
		{name: "the last line is there", modes: "+Hnt 5:1h", made: time.Hour, replay: []time.Duration{before, 5 * time.Minute}, known: true, took: 1},
		{name: "it is there, in a full replay", modes: "+Hnt 2:1h", made: time.Hour, replay: []time.Duration{before, 5 * time.Minute}, known: true, took: 1},
		{name: "full, and it is not there", modes: "+Hnt 2:1h", made: time.Hour, replay: []time.Duration{4 * time.Minute, 3 * time.Minute}, gap: 4*time.Minute - time.Second, took: 2},
		{name: "older than the channel keeps", modes: "+Hnt 5:15m", made: time.Hour, replay: []time.Duration{5 * time.Minute}, took: 1},
		{name: "nothing said, and nothing kept that long", modes: "+Hnt 5:15m", made: time.Hour},
		{name: "away longer than the channel keeps", modes: "+Hnt 5:5m", made: time.Hour, replay: []time.Duration{time.Minute}, gap: 5 * time.Minute, took: 1},
		{name: "it should be there, and nothing is", modes: "+Hnt 5:1h", made: time.Hour, gap: -1},
		{name: "it should be there, and is not", modes: "+Hnt 5:1h", made: time.Hour, replay: []time.Duration{5 * time.Minute}, gap: 5*time.Minute - time.Second, took: 1},
		{name: "the channel was made anew", modes: "+Hnt 5:15m", made: 2 * time.Minute, replay: []time.Duration{time.Minute}, gap: 2 * time.Minute, took: 1},
		{name: "no history", modes: "+nt", made: time.Hour, gap: -1},
		{name: "the server's clock is fast", modes: "+Hnt 2:1h", made: time.Hour, skew: 3 * time.Hour, replay: []time.Duration{4 * time.Minute, 3 * time.Minute}, gap: 4*time.Minute - time.Second, took: 2},
		{name: "the server's clock is slow", modes: "+Hnt 5:1h", made: time.Hour, skew: -26 * time.Hour, replay: []time.Duration{before, 5 * time.Minute}, known: true, took: 1},
		{name: "lines from the future", modes: "+Hnt 5:1h", made: time.Hour, replay: []time.Duration{before, -2 * time.Hour}, known: true, took: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				server := now.Add(tt.skew)
				s, _ := returning(t, away, position{id: "last", at: server.Add(-before), n: 1})
				for _, line := range []string{
					":irc.test CAP * LS :batch message-tags server-time", ":irc.test CAP * ACK :batch message-tags server-time",
					":irc.test 001 bot :Welcome bot!b@h", ":irc.test 005 bot CHANMODES=b,k,Hl,imnpst :are supported", ":irc.test 376 bot :End",
					"@time=" + stamp(server) + " :bot!b@h JOIN #dev", ":irc.test BATCH +h chathistory #dev",
				} {
					s.handle([]byte(line))
				}
				for i, ago := range tt.replay {
					id := fmt.Sprint("line", i)
					if i == 0 && tt.known {
						id = "last"
					}
					at := stamp(server.Add(-ago).Truncate(time.Second))
					s.handle([]byte(fmt.Sprintf("@batch=h;msgid=%s;time=%s :alice!a@h PRIVMSG #dev :%s", id, at, id)))
				}
				s.handle([]byte(":irc.test BATCH -h"))
				s.handle([]byte(":irc.test 324 bot #dev " + tt.modes))
				s.handle([]byte(fmt.Sprintf(":irc.test 329 bot #dev %d", server.Add(-tt.made).Unix())))
				settleIn(s)
				took, gaps := 0, []bridge.Event{}
				for _, o := range s.out {
					switch {
					case o.event.Kind == bridge.Gap:
						gaps = append(gaps, o.event)
					case o.event.Kind == 0:
						took++
						if !o.message.Delayed || o.message.Time.After(now) {
							t.Errorf("%+v", o.message)
						}
					}
				}
				if took != tt.took {
					t.Errorf("%d lines taken in, want %d", took, tt.took)
				}
				switch {
				case tt.gap == 0:
					if len(gaps) > 0 {
						t.Errorf("gaps %v", gaps)
					}
				case len(gaps) != 1 || !gaps[0].Since.Equal(now.Add(-away)) || !gaps[0].Time.Equal(now.Add(-max(tt.gap, 0))):
					t.Errorf("gaps %+v, want one until %s ago", gaps, tt.gap)
				}
			})
		})
	}
}

// TestReplayBombs: what a server replays, forges or never ends is bounded.
func TestReplayBombs(t *testing.T) {
	head := []string{
		":irc.test CAP * LS :batch message-tags server-time", ":irc.test CAP * ACK :batch message-tags server-time",
		":irc.test 001 bot :Welcome bot!b@h", ":irc.test 376 bot :End", ":bot!b@h JOIN #dev", ":irc.test BATCH +h chathistory #dev",
	}
	for _, tt := range []struct{ name, line string }{
		{"an endless replay", "@batch=h;msgid=m%d;time=2026-01-01T00:00:00.000Z :alice!a@h PRIVMSG #dev :" + strings.Repeat("x", 400)},
		{"our own lines without end", "@batch=h;msgid=m%d :bot!b@h PRIVMSG #dev :" + strings.Repeat("x", 400)},
		{"batches in batches", "@batch=h BATCH +b%d chathistory #dev"},
		{"live lines while we wait", "@msgid=m%d :alice!a@h PRIVMSG #dev :" + strings.Repeat("x", 400)},
		{"long ids", "@batch=h;msgid=%d" + strings.Repeat("i", 4000) + ";time=2026-01-01T00:00:00.000Z :alice!a@h PRIVMSG #dev :x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, shelf := returning(t, time.Hour, position{})
			for _, line := range head {
				s.handle([]byte(line))
			}
			for i := range 20_000 {
				s.handle([]byte(fmt.Sprintf(tt.line, i)))
				if i%100 == 0 {
					s.out = s.out[:0]
				}
			}
			k := s.channel("#dev").replay
			if len(k.held) > maxHeld || k.size > maxHeldSize || len(k.own) > maxOwnLines || len(s.batches) > maxBatches {
				t.Errorf("%d lines of %d bytes are held, %d own ones, %d batches", len(k.held), k.size, len(k.own), len(s.batches))
			}
			s.leg.mem.write(t.Context())
			for name, value := range shelf.kept {
				if len(value) > 1000 {
					t.Errorf("%d bytes are kept of %s", len(value), name)
				}
			}
		})
	}
}

// FuzzMemory: what is kept is read as it was written, and what is not ours does no
// harm.
func FuzzMemory(f *testing.F) {
	f.Add("s 1000\nn bot\nr 0 1000 #dev", "1795317334000 2 000~1795317333~9", "6697 300 1795317334")
	f.Add("r x y #dev\ns -1\nr 1", "0 0 ", "0 0 0")
	f.Fuzz(func(t *testing.T, presence, line, policy string) {
		if p := parsePosition(line); p.known() {
			if q := parsePosition(p.cursor("#dev").Value); q != p {
				t.Errorf("%+v became %+v", p, q)
			}
			if ref, ok := p.ref(); ok && strings.ContainsAny(ref, " \r\n\x00") {
				t.Errorf("ref %q", ref)
			}
		}
		if p, ok := parseStoredPolicy(policy); ok {
			if q, ok := parseStoredPolicy(p.stored()); !ok || !q.until.Equal(p.until) || q.port != p.port || q.duration != p.duration {
				t.Errorf("%+v became %+v", p, q)
			}
		}
		m := newMemory("net", nil, nil)
		m.readPresence(presence)
		again := newMemory("net", nil, nil)
		again.readPresence(m.writePresence())
		if m.writePresence() != again.writePresence() {
			t.Errorf("%q became %q", m.writePresence(), again.writePresence())
		}
	})
}

// TestSettleDoubts: which of the lines in doubt a history holds.
func TestSettleDoubts(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	marked := func(id, body string) ownLine { return ownLine{id, body, at} }
	want := func(id string, lines ...string) wanted {
		return wanted{id: id, prefix: "<a> ", lines: lines, said: at}
	}
	for _, tt := range []struct {
		name string
		want wanted
		own  []ownLine
		kept time.Time
		is   bridge.Answer
		rest int // lines sent next time
	}{
		{"by its mark", want("m", "<a> x"), []ownLine{marked("m", "<a> x")}, never, bridge.Present, 1},
		{"by its mark, altered", want("m", "<a> x"), []ownLine{marked("m", "<a> y")}, never, bridge.Present, 1},
		{"another's mark", want("m", "<a> x"), []ownLine{marked("n", "<a> x")}, at, bridge.Absent, 1},
		{"by its text", want("m", "<a> x"), []ownLine{marked("", "<a> x")}, never, bridge.Present, 1},
		{"the same was said long before", want("m", "<a> x"), []ownLine{{"", "<a> x", at.Add(-time.Minute)}}, at, bridge.Absent, 1},
		{"two lines of three", want("m", "<a> x", "<a> y", "<a> z"), []ownLine{marked("m", "<a> x"), marked("m", "<a> y")}, at, bridge.Absent, 1},
		{"two lines of three, by text", want("m", "<a> x", "<a> y", "<a> z"), []ownLine{marked("", "<a> x"), marked("", "<a> y")}, at, bridge.Absent, 1},
		{"all, split differently", want("m", "<a> one t", "<a> wo th", "<a> ree"), []ownLine{marked("m", "<a> one two"), marked("m", "<a>  three")}, never, bridge.Present, 3},
		{"a part, split differently", want("m", "<a> one t", "<a> wo"), []ownLine{marked("m", "<a> one ")}, at, bridge.Absent, 2},
		{"the history begins later", want("m", "<a> x"), nil, at.Add(time.Second), bridge.Unanswered, 1},
		{"there is none", want("m", "<a> x"), nil, never, bridge.Unanswered, 1},
		{"it begins before", want("m", "<a> x"), nil, at.Add(-time.Second), bridge.Absent, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory("net", nil, nil)
			if got := m.settleDoubts([]wanted{tt.want}, tt.own, tt.kept); len(got) != 1 || got[0] != tt.is {
				t.Errorf("answers %v, want %v", got, tt.is)
			}
			if rest := m.rest(tt.want.id, tt.want.lines); len(rest) != tt.rest {
				t.Errorf("%d lines are sent next: %q", len(rest), rest)
			}
			if rest := m.rest(tt.want.id, tt.want.lines); len(rest) != len(tt.want.lines) {
				t.Errorf("and then %q", rest)
			}
		})
	}
	// Two messages of one text, of which the channel has one.
	m := newMemory("net", nil, nil)
	got := m.settleDoubts([]wanted{want("m", "<a> x"), want("n", "<a> x")}, []ownLine{marked("", "<a> x")}, at)
	if got[0] != bridge.Present || got[1] != bridge.Absent {
		t.Errorf("answers %v", got)
	}
}
