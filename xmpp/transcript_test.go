package xmpp

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
	"drawbridge/xmpp/xmpptest"
)

// rig holds a leg with everything around it faked.
type rig struct {
	t      *testing.T
	conf   Config
	leg    *Leg
	scheme *fakeScheme
	sink   *fakeSink
	st     *xmpptest.Stream
	dialMu sync.Mutex // guards dials, dialed and st against the leg's dialling
	dials  []error    // what the next dials fail with
	dialed int
	sm     bool
	// prepare changes the next streams, as the server has it.
	prepare func(st *xmpptest.Stream)
	cancel  context.CancelFunc
	done    chan error
	vars    map[string]string
	tasks   []*task // that wait for the server, or whose results nobody has seen
}

func testConfig() Config {
	return Config{
		Name: "bot", JID: "bot@x.org/drawbridge", Password: "pw",
		People: []policy.Person{
			{Name: "alice", JIDs: []string{"alice@x.org"}, OpenPGP: []string{"A"}},
			{Name: "bob", JIDs: []string{"bob@x.org", "bob@y.org"}, OpenPGP: []string{"B"}},
		},
		Version: "1.0",
	}
}

func newRig(t *testing.T, conf Config) *rig {
	r := &rig{t: t, conf: conf, scheme: &fakeScheme{}, sink: &fakeSink{}, sm: true, vars: map[string]string{}}
	var err error
	r.leg, err = New(conf, Deps{Schemes: []e2ee.Scheme{r.scheme}, Cores: 2, Dial: r.dial})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) dial(_ context.Context, c stream.Config) (Stream, error) {
	r.dialMu.Lock()
	defer r.dialMu.Unlock()
	r.dialed++
	if len(r.dials) > 0 {
		err := r.dials[0]
		r.dials = r.dials[1:]
		if err != nil {
			return nil, err
		}
	}
	r.st = xmpptest.NewStream(c.JID.String(), r.sm && !c.NoSM, c.OnAck)
	r.st.OnIdle(c.OnIdle)
	if r.prepare != nil {
		r.prepare(r.st)
	}
	return r.st, nil
}

// dialCount returns how often the leg has dialled.
func (r *rig) dialCount() int {
	r.dialMu.Lock()
	defer r.dialMu.Unlock()
	return r.dialed
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() { r.done <- r.leg.Run(ctx, r.sink) }()
	synctest.Wait()
}

func (r *rig) stop() {
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// skipStart takes what every session begins with.
func (r *rig) skipStart() {
	r.t.Helper()
	for r.st.Sent() != nil {
	}
	r.sink.next(&r.sink.events)
}

func (r *rig) push(xml string) {
	r.t.Helper()
	if err := r.st.Push(xml); err != nil {
		r.t.Fatalf("%s: %v", xml, err)
	}
	synctest.Wait()
}

// TestTranscripts plays testdata/*.txt. The marks are: S the server sends, C we
// send, M the core is given a message, E an event, P a proof, O the core sends
// "ROOM ID FLOOR | text", R its result, T time passes, H stanzas are handled,
// X the stream fails, L the configuration is loaded anew, N the status notes hold, Q a room's status, K keys change. Of a
// room guarded by CONF: guard, G is what the guard sees, A what it applies, W its words to
// one, V that it observes, D what became of A or V.
func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := xmpptest.Lines(string(b))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { play(t, lines) })
		})
	}
}

func play(t *testing.T, lines []xmpptest.Line) {
	conf := testConfig()
	sm := true
	var guarded []bridge.Room
	w := &witness{}
	for len(lines) > 0 && lines[0].Mark == "CONF" {
		key, val, _ := strings.Cut(lines[0].Text, " ")
		switch key {
		case "room":
			f := strings.Fields(val)
			rc := RoomConfig{JID: f[0], Nick: f[1]}
			if len(f) > 2 {
				rc.Password = f[2]
			}
			conf.Rooms = append(conf.Rooms, rc)
		case "guard":
			guarded = append(guarded, guardRoom(val))
		case "status":
			conf.Status = val
		case "nosm":
			sm = false
		case "hide-version":
			conf.HideVersion = true
		default:
			t.Fatalf("line %d: unknown %q", lines[0].N, key)
		}
		lines = lines[1:]
	}
	r := newRig(t, conf)
	r.sm = sm
	if len(guarded) > 0 {
		r.leg.Watch(w, guarded)
	}
	r.start()
	defer r.stop()
	var result error
	for _, l := range lines {
		text := xmpptest.Fill(l.Text, r.vars)
		check := func(got string) {
			t.Helper()
			got = strings.TrimRight(got, " ")
			if text == "..." || got == text || strings.HasSuffix(text, "...") && strings.HasPrefix(got, strings.TrimSuffix(text, "...")) {
				return
			}
			t.Fatalf("line %d: %s\n want %s\n  got %s", l.N, l.Mark, text, got)
		}
		switch l.Mark {
		case "S":
			r.push(text)
		case "C":
			pattern, err := xmpptest.Parse(l.Text)
			if err != nil {
				t.Fatalf("line %d: %v", l.N, err)
			}
			got := r.st.Sent()
			if err := xmpptest.Match(pattern, got, r.vars); err != nil {
				t.Fatalf("line %d: %v\n want %s\n  got %s", l.N, err, l.Text, xmpptest.XML(got))
			}
		case "M":
			check(r.sink.next(&r.sink.messages))
		case "E":
			check(r.sink.next(&r.sink.events))
		case "P":
			check(r.sink.next(&r.sink.proofs))
		case "O":
			result = r.leg.Send(context.Background(), outgoing(t, l.N, text))
			synctest.Wait()
		case "R":
			switch {
			case result == nil:
				check("ok")
			case errors.Is(result, bridge.ErrNotReady):
				check("not ready")
			default:
				check(result.Error())
			}
		case "T":
			d, err := time.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(d)
			synctest.Wait()
		case "H":
			check(strconv.Itoa(r.st.HandledCount()))
		case "X":
			r.st.Fail(errors.New(text))
			synctest.Wait()
		case "L":
			if err := r.leg.Reconfigure(r.conf); err != nil {
				t.Fatalf("line %d: %v", l.N, err)
			}
			synctest.Wait()
		case "K":
			r.leg.KeysChanged()
			synctest.Wait()
		case "G":
			check(w.next())
		case "A":
			r.apply(text)
		case "V":
			r.observe(text)
		case "D":
			check(r.finished())
		case "W":
			f := strings.SplitN(text, " ", 3)
			r.leg.Whisper(guardRoom(f[0]), f[1], f[2])
			synctest.Wait()
		case "REACH":
			who, why, _ := strings.Cut(text, " ")
			r.scheme.setReach(who, map[string]error{"": nil, "expired": e2ee.ErrKeyExpired, "nokey": e2ee.ErrNoKey}[why])
		case "N":
			if notes := strings.Join(r.leg.Status().Notes, "\n"); !strings.Contains(notes, text) {
				t.Fatalf("line %d: %q is not in the notes:\n%s", l.N, text, notes)
			}
		case "Q":
			check(roomLine(r.leg.Status(), strings.Fields(text)[0]))
		default:
			t.Fatalf("line %d: unknown mark %s", l.N, l.Mark)
		}
	}
	if e := r.st.Sent(); e != nil {
		t.Errorf("at the end: also sent %s", xmpptest.XML(e))
	}
	for _, rest := range [][]string{r.sink.messages, r.sink.events, r.sink.proofs, w.lines} {
		for _, l := range rest {
			t.Errorf("at the end: also %s", l)
		}
	}
}

func roomLine(st bridge.LegStatus, name string) string {
	for _, r := range st.Rooms {
		if r.Room.Name == name {
			s := name + " " + r.State.String()
			if r.Proven {
				s += " proven"
			}
			if r.Detail != "" {
				s += ": " + r.Detail
			}
			return s
		}
	}
	return name + " unknown"
}

// outgoing reads "ROOM ID FLOOR [late] | text".
func outgoing(t *testing.T, n int, line string) bridge.Outgoing {
	head, text, _ := strings.Cut(line, " | ")
	f := strings.Fields(head)
	if len(f) < 3 {
		t.Fatalf("line %d: O: ROOM ID FLOOR | text", n)
	}
	floor, err := policy.ParseRung(f[2])
	if err != nil {
		t.Fatalf("line %d: %v", n, err)
	}
	m := bridge.Outgoing{
		ID: f[1], To: bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: f[0]}, Floor: floor,
		Schemes: []string{"openpgp"}, Text: bridge.NewText(strings.ReplaceAll(text, `\n`, "\n")),
	}
	if strings.Contains(f[0], "@") {
		m.To.Kind = bridge.MUC
	}
	for _, flag := range f[3:] {
		switch flag {
		case "late":
			m.Late, m.Said = true, time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
		case "noscheme":
			m.Schemes = nil
		case "unlicensed":
		}
	}
	if floor == policy.Clear && !strings.Contains(head, "unlicensed") {
		m.Clear, _ = bridge.NewClearRoom(m.To, policy.Floor{})
	}
	return m
}

var _ Stream = (*xmpptest.Stream)(nil)

func say(children ...*element.Element) *element.Element {
	return element.New(nsClient, "message", "from", "alice@x.org/psi", "type", "chat").Add(children...)
}
