package stream_test

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/xmpp/stream"
)

// patience ends a test that hangs; it is longer than any timeout under test.
const patience = 40 * time.Second

// fake is a server at the far end of a connection. What the stream sends is
// collected; nothing either side writes waits for the other.
type fake struct {
	t    testing.TB
	conn net.Conn

	mu   sync.Mutex // guards the rest
	cond *sync.Cond
	in   []byte // what the client sent and nobody has expected yet
	all  []byte // all it ever sent
	out  [][]byte
	gone bool // the client closed the connection
	stop bool
	deaf bool // read no more
	lazy bool // keep nothing of what is read
}

// newFake returns a fake server and the client's end of its connection.
func newFake(t testing.TB) (*fake, net.Conn) {
	client, server := net.Pipe()
	f := serve(t, server)
	t.Cleanup(func() { _ = client.Close() })
	return f, client
}

func serve(t testing.TB, conn net.Conn) *fake {
	f := &fake{t: t, conn: conn}
	f.cond = sync.NewCond(&f.mu)
	var wg sync.WaitGroup
	wg.Go(f.read)
	wg.Go(f.write)
	timer := time.AfterFunc(patience, func() { _ = conn.Close() })
	t.Cleanup(func() {
		timer.Stop()
		f.hangUp()
		wg.Wait()
	})
	return f
}

func (f *fake) read() {
	buf := make([]byte, 4096)
	for {
		n, err := f.conn.Read(buf)
		f.mu.Lock()
		if !f.lazy {
			f.in = append(f.in, buf[:n]...)
			f.all = append(f.all, buf[:n]...)
		}
		f.gone = err != nil && !f.deaf
		f.cond.Broadcast()
		for f.deaf && !f.stop {
			f.cond.Wait()
		}
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// stall makes the server read nothing any more.
func (f *fake) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = true
	_ = f.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// forget makes the server read and keep nothing.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lazy = true
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func unb64(t *testing.T, s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (f *fake) write() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		for len(f.out) == 0 && !f.stop {
			f.cond.Wait()
		}
		if len(f.out) == 0 {
			_ = f.conn.Close()
			return
		}
		b := f.out[0]
		f.out = f.out[1:]
		f.mu.Unlock()
		_, _ = f.conn.Write(b)
		f.mu.Lock()
	}
}

// send sends text, after what was sent before.
func (f *fake) send(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out = append(f.out, []byte(text))
	f.cond.Broadcast()
}

// hangUp closes the connection behind what was sent.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop = true
	f.cond.Broadcast()
}

// take waits until what the client sent begins with match, and returns it.
func (f *fake) take(what string, match func(in string) (n int)) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if n := match(string(f.in)); n > 0 {
			out := string(f.in[:n])
			f.in = f.in[n:]
			return out, nil
		}
		if f.gone {
			return "", fmt.Errorf("expected %s, got %q and the end", what, f.in)
		}
		f.cond.Wait()
	}
}

// expect waits for text, and tells what came instead.
func (f *fake) expect(text string) error {
	got, err := f.take(text, func(in string) int {
		if strings.HasPrefix(in, text) || !strings.HasPrefix(text, in) && in != "" {
			return min(len(in), len(text))
		}
		return 0
	})
	if err == nil && got != text {
		err = fmt.Errorf("expected %s\ngot      %s", text, got)
	}
	return err
}

// sent returns all that the client sent.
func (f *fake) sent() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.all)
}

var (
	authPattern     = regexp.MustCompile(`^<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='([A-Z0-9-]+)'>([^<]*)</auth>`)
	responsePattern = regexp.MustCompile(`^<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'(?:/>|>([^<]*)</response>)`)
)

// login plays the server's side of SASL for user bot with password "secret".
// failure is the condition to refuse with at the end, or "". It returns the
// mechanism.
func (f *fake) login(state *tls.ConnectionState, failure string) (string, error) {
	match := func(p *regexp.Regexp) func(string) int {
		return func(in string) int { return len(p.FindString(in)) }
	}
	text, err := f.take("<auth/>", match(authPattern))
	if err != nil {
		return "", err
	}
	m := authPattern.FindStringSubmatch(text)
	data, err := base64.StdEncoding.DecodeString(m[2])
	if err != nil {
		return m[1], err
	}
	if m[1] == "PLAIN" {
		if string(data) != "\x00bot\x00secret" {
			return m[1], fmt.Errorf("PLAIN with %q", data)
		}
		f.send(`<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>`)
		return m[1], nil
	}
	send := func(local string, data string) {
		f.send("<" + local + " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + base64.StdEncoding.EncodeToString([]byte(data)) + "</" + local + ">")
	}
	server := &scram{mechanism: m[1], state: state}
	first, err := server.first(string(data))
	if err != nil {
		return m[1], err
	}
	send("challenge", first)
	if text, err = f.take("<response/>", match(responsePattern)); err != nil {
		return m[1], err
	}
	if data, err = base64.StdEncoding.DecodeString(responsePattern.FindStringSubmatch(text)[1]); err != nil {
		return m[1], err
	}
	final, err := server.final(string(data))
	if err != nil {
		return m[1], err
	}
	if failure != "" {
		f.send(`<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><` + failure + `/><text xml:lang='en'>so it is</text></failure>`)
		return m[1], nil
	}
	send("success", final)
	return m[1], nil
}

// scram is the server's side of SCRAM (RFC 5802, RFC 7677, RFC 9266) for user
// bot with password "secret", written apart from the library under test.
type scram struct {
	mechanism string
	state     *tls.ConnectionState
	gs2       string
	messages  []string
}

func (s *scram) first(client string) (string, error) {
	parts := strings.SplitN(client, ",", 3)
	if len(parts) != 3 {
		return "", fmt.Errorf("client-first %q", client)
	}
	s.gs2 = parts[0] + "," + parts[1] + ","
	if want := map[bool]string{true: "p=tls-exporter,,", false: "n,,"}[strings.HasSuffix(s.mechanism, "-PLUS")]; s.gs2 != want {
		return "", fmt.Errorf("gs2 header %q, want %q", s.gs2, want)
	}
	nonce, ok := strings.CutPrefix(parts[2], "n=bot,r=")
	if !ok || len(nonce) < 16 {
		return "", fmt.Errorf("client-first %q", client)
	}
	server := "r=" + nonce + "more,s=" + base64.StdEncoding.EncodeToString([]byte("salt")) + ",i=4096"
	s.messages = []string{parts[2], server}
	return server, nil
}

func (s *scram) final(client string) (string, error) {
	h := sha1.New
	if strings.Contains(s.mechanism, "256") {
		h = sha256.New
	}
	i := strings.LastIndex(client, ",p=")
	if i < 0 {
		return "", fmt.Errorf("client-final %q", client)
	}
	binding := s.gs2
	if strings.HasSuffix(s.mechanism, "-PLUS") {
		key, err := s.state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			return "", err
		}
		binding += string(key)
	}
	nonce, _, _ := strings.Cut(s.messages[1], ",")
	if want := "c=" + base64.StdEncoding.EncodeToString([]byte(binding)) + "," + nonce; client[:i] != want {
		return "", fmt.Errorf("client-final %q, want %q", client[:i], want)
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	salted, err := pbkdf2.Key(h, "secret", []byte("salt"), 4096, h().Size())
	if err != nil {
		return "", err
	}
	auth := s.messages[0] + "," + s.messages[1] + "," + client[:i]
	clientKey := mac(salted, "Client Key")
	stored := h()
	stored.Write(clientKey)
	proof := mac(stored.Sum(nil), auth)
	subtle.XORBytes(proof, proof, clientKey)
	if client[i+3:] != base64.StdEncoding.EncodeToString(proof) {
		return "", errors.New("wrong proof")
	}
	return "v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), auth)), nil
}

// dialPipe dials over one prepared connection after the other.
func dialPipe(conns ...net.Conn) func(ctx context.Context, network, addr string) (net.Conn, error) {
	var mu sync.Mutex
	return func(context.Context, string, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(conns) == 0 {
			return nil, errors.New("nobody listens")
		}
		c := conns[0]
		conns = conns[1:]
		return c, nil
	}
}

type dialed struct {
	s   *stream.Stream
	err error
}

// dialing dials in the background.
func dialing(c stream.Config) chan dialed {
	out := make(chan dialed, 1)
	go func() {
		s, err := stream.Dial(context.Background(), c)
		out <- dialed{s, err}
	}()
	return out
}
