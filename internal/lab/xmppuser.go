package lab

import (
	"bufio"
	"bytes"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// XMPPUser is a scripted XMPP client over TLS: it logs in, and leaves everything
// else to the test, which sends raw stanzas and looks at those that come.
// It answers XEP-0199 pings and other requests with an empty result.
type XMPPUser struct {
	JID string // full

	lab  *Lab
	conn net.Conn
	wmu  sync.Mutex // guards writes

	mu    sync.Mutex // guards those below
	got   []string
	each  func(stanza string)
	ended bool
	done  chan struct{}
	ids   int
	token string // makes ids our own
}

// XMPPUser logs name in with the given resource, "lab" if empty, over STARTTLS
// and SASL PLAIN. It sends no presence.
func (l *Lab) XMPPUser(s *XMPPServer, name, resource string) *XMPPUser {
	l.Helper()
	u := &XMPPUser{lab: l, done: make(chan struct{}), token: crand.Text()[:8]}
	c, err := net.DialTimeout("tcp", s.Addr, 5*time.Second)
	l.must(err)
	r, err := u.login(c, name, resource)
	if err != nil {
		_ = c.Close()
		l.Fatalf("lab: log %s in: %v", name, err)
	}
	go u.read(r)
	l.Cleanup(u.Close)
	return u
}

const streamHead = "<?xml version='1.0'?><stream:stream to='" + Domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

func (u *XMPPUser) login(c net.Conn, name, resource string) (*stanzaReader, error) {
	if resource == "" {
		resource = "lab"
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	u.conn = c
	r := newStanzaReader(c)
	ask := func(send, want string) error {
		u.Send(send)
		st, err := r.next()
		if err != nil {
			return err
		}
		if !strings.Contains(st, want) {
			return fmt.Errorf("wanted %s, got %s", want, st)
		}
		return nil
	}
	if err := ask(streamHead, "<starttls"); err != nil {
		return nil, err
	}
	if err := ask("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed"); err != nil {
		return nil, err
	}
	tc := tls.Client(c, u.lab.CA.TLS(Domain))
	if err := tc.Handshake(); err != nil {
		return nil, err
	}
	u.conn = tc
	r = newStanzaReader(tc)
	if err := ask(streamHead, "PLAIN"); err != nil {
		return nil, err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + Password))
	if err := ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plain+"</auth>", "<success"); err != nil {
		return nil, err
	}
	if err := ask(streamHead, "xmpp-bind"); err != nil {
		return nil, err
	}
	if err := ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>"+resource+"</resource></bind></iq>", "<jid>"); err != nil {
		return nil, err
	}
	u.JID = name + "@" + Domain + "/" + resource
	_ = c.SetDeadline(time.Time{})
	return r, nil
}

func (u *XMPPUser) read(r *stanzaReader) {
	defer close(u.done)
	for {
		st, err := r.next()
		if err != nil {
			u.mu.Lock()
			u.ended = true
			u.mu.Unlock()
			return
		}
		if strings.HasPrefix(st, "<iq") {
			if typ := Attr(st, "type"); typ == "get" || typ == "set" {
				u.Send("<iq type='result' id='" + Escape(Attr(st, "id")) + "' to='" + Escape(Attr(st, "from")) + "'/>")
			}
		}
		u.mu.Lock()
		u.got = append(u.got, st)
		each := u.each
		u.mu.Unlock()
		if each != nil {
			each(st)
		}
	}
}

// Send writes raw XML.
func (u *XMPPUser) Send(xml string) {
	u.wmu.Lock()
	defer u.wmu.Unlock()
	_ = u.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(u.conn, xml) // an error shows as a stanza that never comes
}

// Each lets f have each stanza from now on, in order, on the goroutine that reads.
// f may send.
func (u *XMPPUser) Each(f func(stanza string)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.each = f
}

// Chat sends a one-to-one message with the given children and returns its id.
func (u *XMPPUser) Chat(to, children string) string {
	u.ids++
	id := fmt.Sprintf("lab%d-%s", u.ids, u.token)
	u.Send("<message type='chat' id='" + id + "' to='" + Escape(to) + "'>" + children + "</message>")
	return id
}

// Presence sends available presence with the given children, for instance a
// status and its signature.
func (u *XMPPUser) Presence(children string) { u.Send("<presence>" + children + "</presence>") }

// JoinRoom joins a MUC room and waits for the own presence.
func (u *XMPPUser) JoinRoom(room, nick string) {
	u.lab.Helper()
	before := len(u.Stanzas())
	u.Send("<presence to='" + Escape(room+"/"+nick) + "'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>")
	u.lab.Await(patience, "own presence in "+room, func() bool {
		for _, st := range u.Stanzas()[before:] {
			if strings.HasPrefix(st, "<presence") && Attr(st, "from") == room+"/"+nick && (strings.Contains(st, "'110'") || strings.Contains(st, `"110"`)) {
				return true
			}
		}
		return false
	})
}

// Close ends the stream and waits until nothing is read any more.
func (u *XMPPUser) Close() {
	u.Send("</stream:stream>")
	_ = u.conn.Close()
	<-u.done
}

// Stanzas returns the raw stanzas received so far, without what was part of the
// login.
func (u *XMPPUser) Stanzas() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string(nil), u.got...)
}

// Find waits up to d for a stanza, among those already received too.
func (u *XMPPUser) Find(d time.Duration, match func(st string) bool) (string, bool) {
	n, found := 0, ""
	ok := Poll(d, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		for ; n < len(u.got); n++ {
			if match(u.got[n]) {
				found = u.got[n]
				return true
			}
		}
		return false
	})
	return found, ok
}

// Expect waits for up to three minutes for a stanza.
func (u *XMPPUser) Expect(match func(st string) bool, what string) string {
	u.lab.Helper()
	st, ok := u.Find(patience, match)
	if !ok {
		u.lab.Fatalf("lab: %s never got %s; it got:\n%s", u.JID, what, strings.Join(u.Stanzas(), "\n"))
	}
	return st
}

// Escape makes text fit for XML content and attributes.
func Escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Attr returns an attribute of a stanza's outermost element.
func Attr(stanza, name string) string {
	d := xml.NewDecoder(strings.NewReader(stanza))
	for {
		t, err := d.RawToken()
		if err != nil {
			return ""
		}
		if el, ok := t.(xml.StartElement); ok {
			for _, a := range el.Attr {
				if a.Name.Space == "" && a.Name.Local == name {
					return a.Value
				}
			}
			return ""
		}
	}
}

// Child returns the text of the first element of that name anywhere in a
// stanza, and whether there is one.
func Child(stanza, name string) (string, bool) {
	d := xml.NewDecoder(strings.NewReader(stanza))
	in, text := 0, ""
	for {
		t, err := d.RawToken()
		if err != nil {
			return "", false
		}
		switch t := t.(type) {
		case xml.StartElement:
			if in > 0 || t.Name.Local == name {
				in++
			}
		case xml.EndElement:
			if in > 0 {
				if in--; in == 0 {
					return text, true
				}
			}
		case xml.CharData:
			if in == 1 {
				text += string(t)
			}
		}
	}
}

// stanzaReader cuts the elements directly below the stream out of it, by
// counting tags. The servers of the lab send no comments and no CDATA.
type stanzaReader struct {
	r   *bufio.Reader
	buf []byte
}

func newStanzaReader(r io.Reader) *stanzaReader {
	return &stanzaReader{r: bufio.NewReaderSize(r, 64<<10)}
}

var errStreamEnd = errors.New("stream closed")

func (s *stanzaReader) next() (string, error) {
	s.buf = s.buf[:0]
	for depth := 0; ; {
		start := len(s.buf)
		b, err := s.r.ReadBytes('>')
		if err != nil {
			return "", err
		}
		s.buf = append(s.buf, b...)
		lt := bytes.LastIndexByte(s.buf[start:], '<')
		if lt < 0 {
			continue
		}
		tag := s.buf[start+lt:]
		switch {
		case tag[1] == '?', bytes.HasPrefix(tag, []byte("<stream:stream")):
			s.buf = s.buf[:0]
			continue
		case tag[1] == '/':
			if depth--; depth < 0 {
				return "", errStreamEnd
			}
		case tag[len(tag)-2] != '/':
			depth++
		}
		if depth == 0 {
			return strings.TrimSpace(string(s.buf)), nil
		}
	}
}
