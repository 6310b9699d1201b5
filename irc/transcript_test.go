package irc

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/irc/irctest"
	"drawbridge/policy"
)

// shelf is a bridge.Cursors in memory.
type shelf struct {
	mu   sync.Mutex // guards kept
	kept map[string]string
}

func (s *shelf) Cursors(context.Context, string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.kept), nil
}

func (s *shelf) SetCursor(_ context.Context, _ string, c bridge.Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[c.Name] = c.Value; c.Value == "" {
		delete(s.kept, c.Name)
	}
	return nil
}

func (s *shelf) get(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[name]
}

// recorder is a Sink that writes down what it is given, in words.
type recorder struct {
	shelf *shelf     // takes the cursors of messages, as a journal does
	mu    sync.Mutex // guards lines
	lines []string
	more  chan struct{}
}

func newRecorder() *recorder {
	return &recorder{more: make(chan struct{}, 1), shelf: &shelf{kept: map[string]string{}}}
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	r.lines = append(r.lines, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *recorder) Take(_ context.Context, m bridge.Message) error {
	kind := [...]string{"say", "action", "notice"}[m.Kind]
	var extra string
	if m.From.Op {
		extra += " op"
	}
	if m.From.Account != "" {
		extra += " account=" + m.From.Account
	}
	if m.ID != "" {
		extra += " id=" + m.ID
	}
	if m.Mark != "" {
		extra += " mark=" + m.Mark
	}
	if m.Cursor.Name != "" {
		_ = r.shelf.SetCursor(context.Background(), m.Room.Leg, m.Cursor)
	}
	if m.Facts != nil {
		extra += " facts=" + showFacts(m.Facts)
	}
	if m.Delayed {
		extra += " delayed=" + m.Time.UTC().Format("15:04:05.000")
	}
	r.add("%s %s %s%s: %s", kind, m.Room.Name, m.From.Nick, extra, m.Text.Reveal())
	return nil
}

func (r *recorder) Notify(_ context.Context, e bridge.Event) error {
	name := map[bridge.EventKind]string{
		bridge.LegUp: "leg up", bridge.LegDown: "leg down", bridge.RoomUp: "room up", bridge.RoomDown: "room down",
		bridge.Joined: "joined", bridge.Parted: "parted", bridge.Quit: "quit", bridge.Renamed: "renamed",
		bridge.Gap: "gap",
	}[e.Kind]
	if e.Kind == bridge.Gap {
		until := "now"
		if time.Since(e.Time) > time.Hour {
			until = e.Time.UTC().Format("15:04:05")
		}
		e.Detail = e.Since.UTC().Format("15:04:05") + " to " + until
	}
	r.add("%s", strings.Join(strings.Fields(name+" "+e.Room.Name+" "+e.Who.Nick+" "+e.Detail), " "))
	return nil
}

func (r *recorder) Prove(p bridge.Proof) {
	word := map[bridge.Outcome]string{bridge.Delivered: "delivered", bridge.Failed: "failed", bridge.Doubt: "doubt"}[p.Outcome]
	if p.NetID != "" {
		word += " " + p.NetID
	}
	if p.Err != nil {
		word += " " + p.Err.Error()
	}
	id, rest, _ := strings.Cut(word, " ")
	r.add("%s %s %s", id, p.ID, rest)
}

// Heard writes down what was said to the bot alone.
func (r *recorder) Heard(p bridge.Private) {
	var rooms []string
	for _, room := range p.Rooms {
		rooms = append(rooms, room.Name)
	}
	r.add("private %s!%s@%s account=%s in=%s: %s", p.From.Nick, p.From.User, p.From.Host, showFact(p.From.Account), strings.Join(rooms, ","), p.Text.Reveal())
}

// next returns the oldest record not yet returned.
func (r *recorder) next() (string, bool) { return r.nextWithin(irctest.Timeout) }

func (r *recorder) nextWithin(d time.Duration) (string, bool) {
	deadline := time.After(d)
	for {
		r.mu.Lock()
		if len(r.lines) > 0 {
			line := r.lines[0]
			r.lines = r.lines[1:]
			r.mu.Unlock()
			return line, true
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case <-deadline:
			return "nothing", false
		}
	}
}

// play runs a leg against a transcript. One whose name holds -clock has time of its
// own, which passes by "> wait 60s". Its first lines may set the config:
// "# config: nick=… channels=#a,#b:key sasl=plain:account:password tls".
type play struct {
	t    *testing.T
	leg  *Leg
	cfg  Config
	rec  *recorder
	wg   sync.WaitGroup
	ctx  context.Context
	conn chan net.Conn
}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			if strings.Contains(filepath.Base(file), "-clock") {
				synctest.Test(t, func(t *testing.T) { playFile(t, file) })
				return
			}
			playFile(t, file)
		})
	}
}

func playFile(t *testing.T, file string) {
	server, conn := irctest.NewServer(t)
	defer server.Close()
	p := &play{t: t, rec: newRecorder(), conn: make(chan net.Conn, 1)}
	p.cfg = transcriptConfig(t, file, p.rec.shelf.kept)
	p.conn <- conn
	open := p.cfg
	open.SASL = SASLConfig{} // no TLS over a pipe, so New would refuse it
	leg, err := New(open, Deps{Rand: func() float64 { return 0.5 }, Cursors: p.rec.shelf, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case c := <-p.conn:
			return c, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	leg.cfg.SASL = p.cfg.SASL
	p.leg = leg
	leg.Hear(p.rec)
	p.guard(file)
	ctx, cancel := context.WithCancel(context.Background())
	p.ctx = ctx
	defer p.wg.Wait()
	defer cancel()
	p.wg.Go(func() { _ = leg.Run(ctx, p.rec) })
	server.Play(file, irctest.Hooks{Do: p.do, Next: p.rec.next})
	if line, ok := server.Pending(); ok && !t.Failed() {
		t.Errorf("the client said %q beyond the transcript", line)
	}
	server.Close()
}

// transcriptConfig reads the "# config:" line, and what an earlier process has kept
// from "# kept NAME = VALUE", where / is a line break. SASL PLAIN without TLS is not
// possible from outside, so the transcripts of logins get it by the back door.
func transcriptConfig(t *testing.T, file string, kept map[string]string) Config {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	cfg := Config{Name: "net", Servers: []string{"irc.test:6667"}, TLSOff: true, Nick: "bot", Keepalive: time.Hour}
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if rest, ok := strings.CutPrefix(sc.Text(), "# kept "); ok {
			name, value, _ := strings.Cut(rest, " = ")
			kept[name] = strings.ReplaceAll(value, "/", "\n")
		}
		rest, ok := strings.CutPrefix(sc.Text(), "# config: ")
		if !ok {
			continue
		}
		for _, item := range strings.Fields(rest) {
			key, value, _ := strings.Cut(item, "=")
			switch key {
			case "nick":
				cfg.Nick = value
			case "guard": // Watch is called: see guard_test.go
			case "user":
				cfg.User = value
			case "pass":
				cfg.Password = value
			case "channels":
				cfg.Channels = parseChannels(value)
			case "sasl":
				parts := strings.Split(value, ":")
				cfg.SASL = SASLConfig{Mechanism: parts[0], Account: parts[1], Password: parts[2]}
			default:
				t.Fatalf("%s: unknown config %q", file, item)
			}
		}
	}
	return cfg
}

func parseChannels(s string) []ChannelConfig {
	var out []ChannelConfig
	for c := range strings.SplitSeq(s, ",") {
		name, key, _ := strings.Cut(c, ":")
		out = append(out, ChannelConfig{Name: name, Key: key})
	}
	return out
}

// do carries out a line after ">".
func (p *play) do(words string) {
	verb, rest, _ := strings.Cut(words, " ")
	switch verb {
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(d)
	case "send", "notice": // ID CHANNEL [PREFIX|] TEXT; \n is a line break
		id, rest, _ := strings.Cut(rest, " ")
		room, text, _ := strings.Cut(rest, " ")
		prefix, _, found := strings.Cut(text, "|")
		if found {
			text = strings.Replace(text, "|", "", 1)
		} else {
			prefix = ""
		}
		m := bridge.Outgoing{ID: id, To: Room("net", room), Prefix: prefix, Text: bridge.NewText(strings.ReplaceAll(text, `\n`, "\n")), Notice: verb == "notice"}
		p.wg.Go(func() {
			if err := p.leg.Send(p.ctx, m); err != nil && p.ctx.Err() == nil {
				p.rec.add("send %s: %v", id, err)
			}
		})
		p.await(func() bool { return p.accepted(m) })
	case "tell": // NICK TEXT; \n is a line break
		nick, text, _ := strings.Cut(rest, " ")
		p.leg.Tell(nick, strings.ReplaceAll(text, `\n`, "\n"))
	case "channels":
		p.cfg.Channels = parseChannels(rest)
		if err := p.leg.Reconfigure(p.cfg); err != nil {
			p.t.Error(err)
		}
	case "keys": // CHANNEL KEY…: of a guard
		f := strings.Fields(rest)
		p.leg.UseKeys(Room(p.cfg.Name, f[0]), f[1:]...)
	case "nick":
		p.cfg.Nick = rest
		if err := p.leg.Reconfigure(p.cfg); err != nil {
			p.t.Error(err)
		}
	case "status": // CHANNEL STATE DETAIL…
		name, want, _ := strings.Cut(rest, " ")
		var got string
		p.await(func() bool {
			for _, r := range p.leg.Status().Rooms {
				if r.Room.Name == name {
					got = strings.TrimSpace(r.State.String() + " " + r.Detail)
				}
			}
			return got == want
		})
		if got != want {
			p.t.Errorf("status of %s:\n want %q\n  got %q", name, want, got)
		}
	case "proven", "unproven":
		p.await(func() bool { return p.leg.Status().Rooms[0].Proven == (verb == "proven") })
		if p.leg.Status().Rooms[0].Proven != (verb == "proven") {
			p.t.Errorf("not %s", verb)
		}
	case "members": // CHANNEL sign+nick…: as a guard would see them
		name, want, _ := strings.Cut(rest, " ")
		var got string
		p.await(func() bool { got = p.members(name); return got == want })
		if got != want {
			p.t.Errorf("members of %s:\n want %q\n  got %q", name, want, got)
		}
	case "leg": // STATE DETAIL…
		var got string
		p.await(func() bool {
			st := p.leg.Status()
			got = strings.TrimSpace(st.State.String() + " " + st.Detail)
			return got == rest
		})
		if got != rest {
			p.t.Errorf("status of the leg:\n want %q\n  got %q", rest, got)
		}
	case "note":
		var got string
		p.await(func() bool { got = strings.Join(p.leg.Status().Notes, "; "); return got == rest })
		if got != rest {
			p.t.Errorf("notes:\n want %q\n  got %q", rest, got)
		}
	case "topic", "user": // CHANNEL TOPIC (WHO) · NICK REALNAME away|here
		name, want, _ := strings.Cut(rest, " ")
		var got string
		p.await(func() bool { got = p.look(verb, name); return got == want })
		if got != want {
			p.t.Errorf("%s %s:\n want %q\n  got %q", verb, name, want, got)
		}
	case "ask": // CHANNEL ID|TEXT…; said at 2024-11-21 12:00 UTC
		p.ask(rest)
	case "account": // NAME
		p.wg.Go(func() {
			seen, err := p.leg.Account(p.ctx, rest)
			if err != nil {
				p.rec.add("account %v", err)
				return
			}
			p.rec.add("account %s: %s %s", rest, [...]string{"unknown", "no", "yes", "never"}[seen.Known], seen.Mark)
		})
	case "asks", "mute": // CHANNEL: whether Ask could tell of what is sent to it now
		want := verb == "asks"
		p.await(func() bool { return p.leg.Asks(Room(p.leg.Name(), rest)) == want })
		if p.leg.Asks(Room(p.leg.Name(), rest)) != want {
			p.t.Errorf("%s: want %s", rest, verb)
		}
	case "kept": // NAME = VALUE
		name, want, _ := strings.Cut(rest, " = ")
		p.await(func() bool { return p.rec.shelf.get(name) == want })
		if got := p.rec.shelf.get(name); got != want {
			p.t.Errorf("kept of %s:\n want %q\n  got %q", name, want, got)
		}
	case "self":
		p.await(func() bool { return p.leg.Status().Self == rest })
		if got := p.leg.Status().Self; got != rest {
			p.t.Errorf("self = %q, want %q", got, rest)
		}
	default:
		if !p.doGuard(verb, rest) {
			p.t.Fatalf("the test cannot %q", words)
		}
	}
}

// ask asks, and records the answers.
func (p *play) ask(words string) {
	room, rest, _ := strings.Cut(words, " ")
	var ms []bridge.Outgoing
	for item := range strings.FieldsSeq(rest) {
		id, text, _ := strings.Cut(item, "|")
		ms = append(ms, bridge.Outgoing{
			ID: id, To: Room("net", room), Text: bridge.NewText(strings.ReplaceAll(text, `\n`, "\n")),
			Said: time.Date(2024, 11, 21, 12, 0, 0, 0, time.UTC),
		})
	}
	p.wg.Go(func() {
		answers, err := p.leg.Ask(p.ctx, ms)
		if p.ctx.Err() != nil {
			return
		}
		var out []string
		for i, a := range answers {
			out = append(out, ms[i].ID+"="+[...]string{"unanswered", "present", "absent"}[a])
		}
		if err != nil {
			out = append(out, err.Error())
		}
		p.rec.add("answer %s", strings.Join(out, " "))
	})
}

// accepted reports whether the window has m, or Send has returned.
func (p *play) accepted(m bridge.Outgoing) bool {
	p.leg.mu.Lock()
	s := p.leg.session
	p.leg.mu.Unlock()
	if s == nil {
		return true
	}
	s.win.mu.Lock()
	defer s.win.mu.Unlock()
	q := s.win.rooms[m.To]
	if q == nil {
		return true
	}
	for _, j := range q.jobs {
		if j.id == m.ID {
			return true
		}
	}
	for _, f := range s.win.flight {
		if f.job != nil && f.job.id == m.ID {
			return true
		}
	}
	return false
}

// look tells a channel's topic or what is known of a user.
func (p *play) look(what, name string) string {
	p.leg.mu.Lock()
	s := p.leg.session
	p.leg.mu.Unlock()
	if s == nil {
		return ""
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if what == "topic" {
		c := s.channel(name)
		return c.topic + " (" + c.topicBy + ")"
	}
	u := s.users[s.fold(name)]
	if u.away {
		return u.realname + " away"
	}
	return u.realname + " here"
}

func (p *play) members(room string) string {
	p.leg.mu.Lock()
	s := p.leg.session
	p.leg.mu.Unlock()
	if s == nil {
		return ""
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.channel(room)
	if c == nil {
		return ""
	}
	var out []string
	for _, nick := range append(s.nicks(c), s.nick) {
		m := c.members[s.fold(nick)]
		if m == nil {
			continue
		}
		item := m.signs + nick
		if m.host != "" {
			item += "!" + m.name + "@" + m.host
		}
		if m.account.Known != policy.Unknown {
			item += "=" + m.account.Value
		}
		out = append(out, item)
	}
	return strings.Join(out, " ")
}

func (p *play) await(cond func() bool) {
	for end := time.Now().Add(5 * time.Second); !cond() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
