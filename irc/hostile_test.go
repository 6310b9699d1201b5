package irc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
)

// deadEnd is a Sink for sessions whose doings do not matter.
type deadEnd struct{ took int }

func (d *deadEnd) Take(context.Context, bridge.Message) error { d.took++; return nil }
func (d *deadEnd) Notify(context.Context, bridge.Event) error { return nil }
func (d *deadEnd) Prove(bridge.Proof)                         {}

// feed is a connection that reads given bytes, then ends; it takes all writes.
type feed struct {
	io.Reader
	wrote bytes.Buffer
}

func (f *feed) Write(p []byte) (int, error)      { return f.wrote.Write(p) }
func (*feed) Close() error                       { return nil }
func (*feed) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (*feed) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (*feed) SetDeadline(time.Time) error        { return nil }
func (*feed) SetReadDeadline(_ time.Time) error  { return nil }
func (*feed) SetWriteDeadline(_ time.Time) error { return nil }

// runFed runs a session over what a server says, and returns it when that ends.
func runFed(tb testing.TB, server string) (*session, *feed, *deadEnd) {
	tb.Helper()
	return runFedWith(tb, Deps{}, server)
}

func runFedWith(tb testing.TB, deps Deps, server string) (*session, *feed, *deadEnd) {
	tb.Helper()
	leg, err := New(Config{Name: "net", Servers: []string{"irc.test:6667"}, TLSOff: true, Nick: "bot", Channels: []ChannelConfig{{Name: "#dev"}}}, deps)
	if err == nil {
		err = leg.mem.load(context.Background())
	}
	if err != nil {
		tb.Fatal(err)
	}
	f, sink := &feed{Reader: strings.NewReader(server)}, &deadEnd{}
	s := newSession(leg, leg.cfg, link{}, f, sink.Prove)
	if err := s.run(context.Background(), sink); err == nil {
		tb.Fatal("a session ended without an error")
	}
	return s, f, sink
}

const welcome = ":irc.test CAP * LS :batch server-time message-tags labeled-response echo-message\r\n" +
	":irc.test CAP * ACK :batch echo-message labeled-response message-tags server-time\r\n" +
	":irc.test 001 bot :Welcome bot!b@h\r\n:irc.test 376 bot :End\r\n:bot!b@h JOIN #dev\r\n"

func TestHostileLines(t *testing.T) {
	const good = ":a!b@c PRIVMSG #dev :good\r\n"
	bomb := func(n int, line string) string { return strings.Repeat(line+"\r\n", n) }
	for _, tt := range []struct {
		name, lines string
		took        int
	}{
		{"over-long line is skipped", ":a!b@c PRIVMSG #dev :" + strings.Repeat("x", 20_000) + "\r\n" + good, 1},
		{"line of a megabyte", strings.Repeat("y", 1<<20) + "\r\n" + good, 1},
		{"NUL and CR are dropped", ":a!b@c PRIV\x00MSG #dev :he\rre\r\n", 1},
		{"tag bomb", "@" + strings.Repeat("a;", 4000) + " :a!b@c PRIVMSG #dev :tagged\r\n" + good, 2},
		{"tag that is not UTF-8", "@msgid=\xff\xfe :a!b@c PRIVMSG #dev :tagged\r\n", 1},
		{"batch bomb", func() string {
			var b strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&b, "BATCH +b%d chathistory #dev\r\n", i)
			}
			return b.String()
		}() + good, 1},
		{"batch that contains itself", "@batch=x BATCH +x netsplit a b\r\n@batch=x :a!b@c PRIVMSG #dev :in\r\n", 1},
		{"empty and odd lines", "\r\n \r\n:\r\n@\r\n: x\r\n@a\r\n:a!b@c\r\nPRIVMSG\r\nPRIVMSG #dev\r\nMODE #dev\r\nKICK #dev\r\nBATCH\r\nBATCH +\r\n353\r\nNICK\r\nCAP\r\nFAIL\r\n" + good, 1},
		{"join bomb", func() string {
			var b strings.Builder
			for i := range maxMembers + 1000 {
				fmt.Fprintf(&b, ":n%d!u@h JOIN #dev\r\n", i)
			}
			return b.String()
		}() + good, 1},
		{"forced into many channels", func() string {
			var b strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&b, ":bot!b@h JOIN #c%d\r\n", i)
			}
			return b.String()
		}() + good, 1},
		{"ping bomb", bomb(20_000, "PING :"+strings.Repeat("p", 400)) + good, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, f, sink := runFed(t, welcome+tt.lines)
			if sink.took != tt.took {
				t.Errorf("%d messages taken in, want %d", sink.took, tt.took)
			}
			for line := range strings.SplitSeq(f.wrote.String(), "\r\n") {
				if len(line) > 510 {
					t.Fatalf("we sent %d bytes: %.80q", len(line), line)
				}
			}
			if len(s.batches) > maxBatches || len(s.users) > maxUsers || len(s.channels) > 2*maxModes {
				t.Errorf("%d batches, %d users, %d channels are kept", len(s.batches), len(s.users), len(s.channels))
			}
			for _, c := range s.channels {
				if len(c.members) > maxMembers {
					t.Errorf("%d members are kept", len(c.members))
				}
			}
		})
	}
}

func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"", ":a!b@c PRIVMSG #dev :hi\r\n", "PING x\r\nERROR :bye\r\n", ":bot!b@h NICK x\r\n:x!b@h PART #dev\r\n",
		":irc.test 005 bot CASEMAPPING=rfc1459 PREFIX=(o)@ :x\r\n:irc.test 353 bot = #dev :@a +b\r\n:irc.test 366 bot #dev :x\r\n",
		":a!b@c KICK #dev bot :x\r\n:irc.test 474 bot #dev :x\r\n", ":irc.test MODE #dev +ovbkl-o a b c d\r\n",
		"BATCH +h chathistory #dev\r\n@batch=h;msgid=id1;time=2023-11-14T22:13:20.000Z :a!b@c PRIVMSG #dev :x\r\n@batch=h;msgid=\\s\\:\\\\r :a!b@c PRIVMSG #dev :y\r\nBATCH -h\r\n",
		":irc.test CAP bot NEW draft/chathistory\r\n:irc.test CAP bot ACK :draft/chathistory\r\n:bot!b@h PART #dev\r\n:bot!b@h JOIN #dev\r\nFAIL CHATHISTORY X #dev :y\r\n",
		":irc.test CAP bot NEW sts=port=6697,duration=9\r\n:irc.test 324 bot #dev +H 5:1h\r\n:irc.test 329 bot #dev 99\r\n",
		"@label=d1;batch=q BATCH +q labeled-response\r\nBATCH -q\r\nFAIL * X :y\r\n", ":irc.test CAP bot NEW :sasl\r\nAUTHENTICATE +\r\n",
		":irc.test 433 * bot :x\r\n:irc.test 432 bot b :x\r\n", ":a!b@c PRIVMSG bot :\x01VERSION\x01\r\n",
	} {
		f.Add(s)
		f.Add(welcome + s)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		kept := &shelf{kept: map[string]string{presenceCursor: "s 1700000000000\nr 0 1000 #dev", lineCursor + "#dev": "1700000000000 1 id1"}}
		for _, deps := range []Deps{{}, {Cursors: kept}} {
			_, conn, _ := runFedWith(t, deps, lines)
			for line := range strings.SplitSeq(conn.wrote.String(), "\r\n") {
				if len(line) > 510 || strings.ContainsAny(line, "\r\n\x00") {
					t.Fatalf("we sent %q", line)
				}
			}
		}
	})
}

// TestKeepalive: a silent server is asked, and given up when it does not answer.
func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		leg, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot"}, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(far, welcome) }()
		start := time.Now()
		sink := &deadEnd{}
		s := newSession(leg, leg.cfg, link{}, near, sink.Prove)
		if err := s.run(context.Background(), sink); !errors.Is(err, errPingTimeout) {
			t.Errorf("run = %v", err)
		}
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("given up after %s, want 60s", took)
		}
		_ = far.Close()
	})
}

func TestRegistrationTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		leg, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot", Keepalive: time.Hour}, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		s := newSession(leg, leg.cfg, link{}, near, func(bridge.Proof) {})
		if err := s.run(context.Background(), &deadEnd{}); !errors.Is(err, errRefusedUs) {
			t.Errorf("run = %v", err)
		}
		_ = far.Close()
	})
}

// TestRetries: nobody listens: every 300 ms or so for five minutes, then ever slower.
func TestRetries(t *testing.T) {
	unreachable := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	refused := fmt.Errorf("%w: go away", errRefusedUs)
	half := func() float64 { return 0.5 }
	now := time.Now()
	var r retrier
	quick := 0
	for start := now; now.Sub(start) < quickFor; quick++ {
		wait := r.next(unreachable, now, 0, 1, half)
		if wait != quickWait {
			t.Fatalf("after %s we wait %s", now.Sub(start), wait)
		}
		now = now.Add(wait)
	}
	if quick != 1000 {
		t.Errorf("%d quick tries in five minutes", quick)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if wait := r.next(unreachable, now, 0, 1, half); wait != want*time.Second {
			t.Errorf("slow wait of %s, want %ds", wait, want)
		}
	}
	r = retrier{}
	for range 9 {
		_ = r.next(refused, now, 0, 1, half)
	}
	if wait := r.next(refused, now, 0, 1, half); wait != slowLast {
		t.Errorf("refused ten times: wait %s", wait)
	}
	r = retrier{}
	if wait := r.next(refused, now, 0, 1, half); wait != time.Second {
		t.Errorf("refused: first wait %s", wait)
	}
	if wait := r.next(refused, now, 0, 1, half); wait != 2*time.Second {
		t.Errorf("refused: second wait %s", wait)
	}
	if wait := r.next(fmt.Errorf("%w: %w", errLost, io.EOF), now, time.Hour, 1, half); wait != quickWait {
		t.Errorf("a long session was lost: wait %s", wait)
	}
	if wait := r.next(refused, now, 0, 2, half); wait != quickWait {
		t.Errorf("refused by the first of two servers: wait %s", wait)
	}
	for range 100 {
		if wait := r.next(unreachable, now, 0, 1, func() float64 { return 0.99 }); wait < quickWait/2 || wait > quickWait*3/2 {
			t.Fatalf("jitter takes the wait to %s", wait)
		}
	}
}

func TestServersInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialled []string
		ctx, cancel := context.WithCancel(context.Background())
		leg, err := New(Config{Name: "net", Servers: []string{"a:1", "b:2", "c:3"}, TLSOff: true, Nick: "bot"}, Deps{
			Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
				if dialled = append(dialled, addr); len(dialled) == 4 {
					cancel()
				}
				return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := leg.Run(ctx, &deadEnd{}); err != nil {
			t.Error(err)
		}
		if got := strings.Join(dialled, " "); got != "a:1 b:2 c:3 a:1" {
			t.Errorf("dialled %s", got)
		}
		if err := leg.Run(ctx, &deadEnd{}); err == nil {
			t.Error("a second Run is no error")
		}
	})
}

// BenchmarkReceive: a line of the wire to a Message in the Sink.
func BenchmarkReceive(b *testing.B) {
	for _, bb := range []struct{ name, line string }{
		{"plain", ":alice!alice@10.0.0.1 PRIVMSG #dev :" + strings.Repeat("ninety bytes ", 7) + "\r\n"},
		{"tagged", "@account=alice;msgid=63dhfkjs-12;time=2026-11-21T12:00:00.000Z :alice!alice@10.0.0.1 PRIVMSG #dev :" + strings.Repeat("ninety bytes ", 7) + "\r\n"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			leg, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot", Channels: []ChannelConfig{{Name: "#dev"}}}, Deps{})
			if err != nil {
				b.Fatal(err)
			}
			sink := &deadEnd{}
			s := newSession(leg, leg.cfg, link{}, &feed{Reader: &repeat{head: welcome, line: bb.line, n: b.N}}, sink.Prove)
			b.ReportAllocs()
			b.ResetTimer()
			_ = s.run(context.Background(), sink)
			if sink.took != b.N {
				b.Fatalf("%d of %d", sink.took, b.N)
			}
		})
	}
}

// repeat reads as head and n times line.
type repeat struct {
	head, line string
	n          int
	rest       string
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.rest == "" {
		switch {
		case r.head != "":
			r.rest, r.head = r.head, ""
		case r.n > 0:
			k := min(r.n, 64)
			r.rest, r.n = strings.Repeat(r.line, k), r.n-k
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestSwallowedLine: an echo that never comes is asked about, and the line is
// lost when the server has handled all before the PING.
func TestSwallowedLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		leg, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot", Channels: []ChannelConfig{{Name: "#dev"}}},
			Deps{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
		if err != nil {
			t.Fatal(err)
		}
		go answerPings(far, welcome)
		rec := newRecorder()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = leg.Run(ctx, rec) }()
		for range 2 {
			rec.next() // leg and room up
		}
		start := time.Now()
		if err := leg.Send(ctx, bridge.Outgoing{ID: "m", To: Room("net", "#dev"), Text: bridge.NewText("lost")}); err != nil {
			t.Fatal(err)
		}
		got, _ := rec.nextWithin(time.Minute)
		if want := "failed m irc: the server did not echo the line"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if took := time.Since(start); took < judgeAfter || took > judgeAfter+leg.cfg.Keepalive {
			t.Errorf("known after %s", took)
		}
		cancel()
		<-done
		_ = far.Close()
	})
}

// answerPings is a server that says hello and answers PING, nothing else.
func answerPings(conn net.Conn, hello string) {
	go func() { _, _ = io.WriteString(conn, hello) }()
	sc := bufio.NewScanner(conn)
	for sc.Scan() {
		if token, ok := strings.CutPrefix(sc.Text(), "PING "); ok {
			go func() { _, _ = io.WriteString(conn, "PONG irc.test :"+token+"\r\n") }()
		}
		if strings.HasPrefix(sc.Text(), "QUIT") {
			_ = conn.Close()
		}
	}
}

// TestCapabilityFlood: a server that offers all the time and answers nothing is
// asked a bounded number of times.
func TestCapabilityFlood(t *testing.T) {
	s, _, _ := runFed(t, welcome+strings.Repeat(":irc.test CAP bot NEW :setname\r\n", 5000))
	if n := len(s.reg.asked); n > maxAsked {
		t.Errorf("%d requests under way", n)
	}
}

// TestTextKeepsNoTags: what a line said does not keep its tags in memory.
func TestTextKeepsNoTags(t *testing.T) {
	tags := "@+x=" + strings.Repeat("t", 4000)
	s, _, _ := runFed(t, welcome)
	s.up, s.bye = true, time.Time{}
	var kept []bridge.Message
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 2000 {
		s.out = nil
		s.handle([]byte(fmt.Sprintf("%s;msgid=m%d :nick%d!b@c PRIVMSG #dev :text %d", tags, i, i, i)))
		for _, o := range s.out {
			m := o.message
			m.ID = "" // the core keeps a copy of it
			kept = append(kept, m)
		}
	}
	s.out = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); len(kept) != 2000 || grown > 2<<20 {
		t.Errorf("%d messages keep %d KiB", len(kept), grown>>10)
	}
	runtime.KeepAlive(kept)
}
