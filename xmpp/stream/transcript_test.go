package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// TestTranscripts plays testdata/*.txt:
//
//	S: sent by the server            C: expected from us
//	LOGIN [condition]                SASL, refused with the condition if there is one
//	HANGUP                           the server closes the connection
//	RECONNECT                        what follows is on a second connection
//	RESUME, REDIAL                   and is a second Dial, with what the last stream left
//	RESUMED bool | LEFT acked stanzas | NOT-RESUMABLE
//	DIALLED-ADDR host:port           where the last connection went
//	DIALED full JID | DIAL-ERROR part of the error
//	NEXT stanza | NEXT-ERROR part    what Next returns
//	SEND stanza… = number            Send, and what it returns
//	SEND-ERROR part                  the same with an error
//	HANDLED n                        calls Handled
//	ACKED n                          the last count OnAck was told
//	LOGGED part                      of the log
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d transcripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			newPlayer(t, connections.FindAllStringIndex(string(text), -1)).play(string(text))
		})
	}
}

type player struct {
	t      *testing.T
	fakes  []*fake
	dialed chan dialed
	c      stream.Config
	s      *stream.Stream
	log    logBuffer

	mu    sync.Mutex // guards the rest
	acked uint64
	addr  string
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var connections = regexp.MustCompile("(?m)^(RECONNECT|RESUME|REDIAL)$")

func newPlayer(t *testing.T, more [][]int) *player {
	p := &player{t: t}
	var conns []net.Conn
	for range len(more) + 1 {
		f, c := newFake(t)
		p.fakes = append(p.fakes, f)
		conns = append(conns, c)
	}
	dial := dialPipe(conns...)
	p.c = stream.Config{
		JID: jid.MustParse("bot@corp.example/drawbridge"), Password: "secret",
		Server: "xmpp.corp.example", TLS: stream.TLS{Mode: stream.NoTLS},
		MaxStanza: 2048,
		Log:       slog.New(slog.NewTextHandler(&p.log, nil)),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			p.mu.Lock()
			p.addr = addr
			p.mu.Unlock()
			return dial(ctx, network, addr)
		},
		OnAck: func(n uint64) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.acked = n
		},
	}
	p.dialed = dialing(p.c)
	return p
}

func (p *player) play(text string) {
	for i, line := range strings.Split(text, "\n") {
		verb, rest, _ := strings.Cut(line, " ")
		if verb == "" || verb == "#" {
			continue
		}
		if err := p.line(verb, rest); err != nil {
			p.t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
	if p.s != nil {
		p.fakes[0].hangUp()
		_ = p.s.Close()
	}
}

func (p *player) line(verb, rest string) error {
	f := p.fakes[0]
	switch verb {
	case "S:":
		f.send(rest)
	case "C:":
		return f.expect(rest)
	case "LOGIN":
		_, err := f.login(nil, rest)
		return err
	case "HANGUP":
		f.hangUp()
	case "RECONNECT":
		p.fakes = p.fakes[1:]
	case "RESUME", "REDIAL":
		if verb == "RESUME" {
			_ = p.s.Close()
			if p.c.Resume = p.s.Resumption(); p.c.Resume == nil {
				return errors.New("nothing to resume")
			}
		}
		p.fakes = p.fakes[1:]
		p.dialed = dialing(p.c)
	case "NOT-RESUMABLE":
		if p.s.Resumption() != nil {
			return errors.New("it is")
		}
	case "RESUMED":
		if got := fmt.Sprint(p.s.Resumed()); got != rest {
			return fmt.Errorf("got %s", got)
		}
		if p.s.Resumed() {
			p.mu.Lock()
			p.acked = p.s.Acked()
			p.mu.Unlock()
		}
	case "LEFT":
		left := p.s.Leftover()
		got := fmt.Appendf(nil, "%d ", left.Acked)
		for _, e := range left.Stanzas {
			got = element.AppendXML(got, e, "jabber:client")
		}
		if string(got) != rest {
			return fmt.Errorf("got %s", got)
		}
	case "DIALLED-ADDR":
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.addr != rest {
			return fmt.Errorf("got %s", p.addr)
		}
	case "DIALED":
		d := <-p.dialed
		if d.err != nil {
			return d.err
		}
		p.s = d.s
		if got := d.s.JID().String(); got != rest {
			return fmt.Errorf("bound %s", got)
		}
	case "DIAL-ERROR":
		d := <-p.dialed
		if d.err == nil {
			_ = d.s.Close()
		}
		return contains(d.err, rest)
	case "NEXT":
		e, err := p.s.Next()
		if err != nil {
			return err
		}
		if got := string(element.AppendXML(nil, e, "jabber:client")); got != rest {
			return fmt.Errorf("got %s", got)
		}
	case "NEXT-ERROR":
		_, err := p.s.Next()
		return contains(err, rest)
	case "SEND":
		return p.send(rest)
	case "SEND-ERROR":
		_, err := p.s.Send(message("x"))
		return contains(err, rest)
	case "HANDLED":
		n, err := strconv.Atoi(rest)
		p.s.Handled(n)
		return err
	case "ACKED":
		p.mu.Lock()
		defer p.mu.Unlock()
		if fmt.Sprint(p.acked) != rest {
			return fmt.Errorf("got %d", p.acked)
		}
	case "LOGGED":
		if !strings.Contains(p.log.String(), rest) {
			return fmt.Errorf("the log is %q", p.log.String())
		}
	default:
		return fmt.Errorf("no such verb")
	}
	return nil
}

// send sends "stanzas = number".
func (p *player) send(text string) error {
	i := strings.LastIndex(text, " = ")
	wrap, err := element.Parse([]byte("<w>"+text[:i]+"</w>"), element.Scope{Default: "jabber:client"}, element.Limits{})
	if err != nil {
		return err
	}
	last, err := p.s.Send(slices.Clone(wrap.Children)...)
	if err != nil {
		return err
	}
	if fmt.Sprint(last) != text[i+3:] {
		return fmt.Errorf("got number %d", last)
	}
	return nil
}

func contains(err error, part string) error {
	if err == nil {
		return fmt.Errorf("no error")
	}
	if !strings.Contains(err.Error(), part) {
		return fmt.Errorf("got %q", err)
	}
	return nil
}
