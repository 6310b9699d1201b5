package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// XMPPClient is a raw-socket XMPP client (SASL PLAIN without TLS, loopback
// only) that reconnects by itself. Stanzas are cut out of the stream by depth
// counting and read with substring search: it has to be faster than any
// bridge, not complete.
type XMPPClient struct {
	Addr, Domain, User, Pass string
	Nick                     string   // MUC nick
	Rooms                    []string // bare room JIDs
	Codec                    Codec
	OnMsg                    func(from, typ, body string, delayed bool)
	OnPresence               func(from string, in bool)
	Presence                 string // extra children of the initial presence
	TLS                      bool   // STARTTLS first, any certificate (loopback)

	mu     sync.Mutex
	conn   net.Conn
	w      *bufio.Writer
	up     atomic.Bool
	closed atomic.Bool
	done   chan struct{}
	iqs    map[string]chan []byte
	idn    int
	JID    string
	joins  map[string]bool
}

// Start connects, and again whenever the connection ends, until Close.
func (c *XMPPClient) Start() { c.done = make(chan struct{}); go c.loop() }

// Up reports whether it is logged in and in all its rooms.
func (c *XMPPClient) Up() bool { return c.up.Load() }

// Close ends the connection and waits.
func (c *XMPPClient) Close() {
	c.closed.Store(true)
	c.mu.Lock()
	if c.conn != nil {
		c.conn.Close()
	}
	c.mu.Unlock()
	<-c.done
}

func (c *XMPPClient) loop() {
	defer close(c.done)
	first := true
	for !c.closed.Load() {
		err := c.session(first)
		if c.up.Load() {
			first = false
		}
		c.up.Store(false)
		if debugWire && err != nil {
			logf("xmpp %s: %v", c.User, err)
		}
		if !c.closed.Load() {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

type stanzaReader struct {
	r   *bufio.Reader
	buf []byte
}

func newStanzaReader(r io.Reader) *stanzaReader {
	return &stanzaReader{r: bufio.NewReaderSize(r, 256<<10)}
}

var errStreamEnd = errors.New("stream closed")

func (s *stanzaReader) next() ([]byte, error) {
	s.buf = s.buf[:0]
	depth := 0
	for {
		start := len(s.buf)
		for {
			b, err := s.r.ReadSlice('>')
			s.buf = append(s.buf, b...)
			if err == bufio.ErrBufferFull {
				continue
			}
			if err != nil {
				return nil, err
			}
			break
		}
		seg := s.buf[start:]
		lt := bytes.LastIndexByte(seg, '<')
		if lt < 0 {
			continue
		}
		tag := seg[lt:]
		switch {
		case tag[1] == '?':
			s.buf = s.buf[:0]
		case bytes.HasPrefix(tag, []byte("<stream:stream")):
			s.buf = s.buf[:0]
		case tag[1] == '/':
			depth--
			if depth < 0 {
				return nil, errStreamEnd
			}
			if depth == 0 {
				return s.buf, nil
			}
		case tag[len(tag)-2] == '/':
			if depth == 0 {
				return s.buf, nil
			}
		default:
			depth++
		}
	}
}

func attr(tag []byte, name string) string {
	for _, q := range []string{"'", "\""} {
		k := " " + name + "=" + q
		if i := bytes.Index(tag, []byte(k)); i >= 0 {
			rest := tag[i+len(k):]
			if j := bytes.IndexByte(rest, q[0]); j >= 0 {
				return unescape(string(rest[:j]))
			}
		}
	}
	return ""
}

func firstTag(st []byte) []byte {
	st = bytes.TrimLeft(st, " \r\n\t")
	if i := bytes.IndexByte(st, '>'); i >= 0 {
		return st[:i+1]
	}
	return st
}

func between(st []byte, a, b string) (string, bool) {
	i := bytes.Index(st, []byte(a))
	if i < 0 {
		return "", false
	}
	rest := st[i+len(a):]
	j := bytes.Index(rest, []byte(b))
	if j < 0 {
		return "", false
	}
	return unescape(string(rest[:j])), true
}

var (
	unesc = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", "\"", "&apos;", "'", "&amp;", "&")
	esc   = strings.NewReplacer("<", "&lt;", ">", "&gt;", "\"", "&quot;", "'", "&apos;", "&", "&amp;")
)

func unescape(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	return unesc.Replace(s)
}

func (c *XMPPClient) session(first bool) error {
	conn, err := dial(c.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := bufio.NewWriterSize(conn, 64<<10)
	c.mu.Lock()
	c.conn, c.w = conn, w
	c.iqs = map[string]chan []byte{}
	c.joins = map[string]bool{}
	c.mu.Unlock()
	header := "<?xml version='1.0'?><stream:stream to='" + c.Domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	sr := newStanzaReader(conn)
	_ = c.Raw(header)
	if _, err := sr.next(); err != nil { // features
		return err
	}
	if c.TLS {
		_ = c.Raw("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		if st, err := sr.next(); err != nil || !bytes.Contains(st, []byte("<proceed")) {
			return fmt.Errorf("starttls: %s %v", st, err)
		}
		tc := tls.Client(conn, &tls.Config{ServerName: c.Domain, InsecureSkipVerify: true})
		if err := tc.Handshake(); err != nil {
			return err
		}
		w = bufio.NewWriterSize(tc, 64<<10)
		c.mu.Lock()
		c.conn, c.w = tc, w
		c.mu.Unlock()
		sr = newStanzaReader(tc)
		_ = c.Raw(header)
		if _, err := sr.next(); err != nil {
			return err
		}
	}
	_ = c.Raw("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+c.User+"\x00"+c.Pass)) + "</auth>")
	st, err := sr.next()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(bytes.TrimSpace(st), []byte("<success")) {
		return fmt.Errorf("auth: %s", st)
	}
	_ = c.Raw(header)
	if _, err := sr.next(); err != nil {
		return err
	}
	_ = c.Raw("<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>")
	for {
		st, err = sr.next()
		if err != nil {
			return err
		}
		if attr(firstTag(st), "id") == "bind1" {
			break
		}
	}
	c.JID, _ = between(st, "<jid>", "</jid>")
	conn.SetDeadline(time.Time{})
	_ = c.Raw("<presence>" + c.Presence + "</presence>")
	go func() {
		for _, room := range c.Rooms {
			c.join(room, first)
		}
	}()
	if len(c.Rooms) == 0 {
		c.up.Store(true)
	}
	for {
		st, err := sr.next()
		if err != nil {
			return err
		}
		c.handle(bytes.TrimLeft(st, " \r\n\t"))
	}
}

func (c *XMPPClient) join(room string, first bool) {
	hist := "maxstanzas='1000'"
	if first {
		hist = "maxstanzas='0'"
	}
	_ = c.Raw("<presence to='" + esc.Replace(room+"/"+c.Nick) + "'><x xmlns='http://jabber.org/protocol/muc'><history " + hist + "/></x></presence>")
}

func (c *XMPPClient) handle(st []byte) {
	tag := firstTag(st)
	switch {
	case bytes.HasPrefix(tag, []byte("<message")):
		typ := attr(tag, "type")
		if typ == "error" {
			if debugWire {
				logf("xmpp %s error: %s", c.User, st)
			}
			return
		}
		if c.OnMsg == nil {
			return
		}
		body, ok := c.Codec.Decode(c, st)
		if !ok {
			return
		}
		c.OnMsg(attr(tag, "from"), typ, body, bytes.Contains(st, []byte("urn:xmpp:delay")))
	case bytes.HasPrefix(tag, []byte("<presence")):
		from, typ := attr(tag, "from"), attr(tag, "type")
		room, nick, _ := strings.Cut(from, "/")
		self := nick == c.Nick && bytes.Contains(st, []byte("'110'")) || nick == c.Nick && c.isRoom(room)
		if self && c.isRoom(room) {
			c.mu.Lock()
			c.joins[room] = typ == ""
			n := 0
			for _, v := range c.joins {
				if v {
					n++
				}
			}
			c.mu.Unlock()
			c.up.Store(n >= len(c.Rooms))
		}
		if debugWire && typ == "error" {
			logf("xmpp %s presence error: %s", c.User, st)
		}
		if c.OnPresence != nil && (typ == "" || typ == "unavailable") {
			c.OnPresence(from, typ == "")
		}
	case bytes.HasPrefix(tag, []byte("<iq")):
		id, typ := attr(tag, "id"), attr(tag, "type")
		if typ == "get" {
			_ = c.Raw("<iq type='result' id='" + esc.Replace(id) + "' to='" + esc.Replace(attr(tag, "from")) + "'/>")
			return
		}
		c.mu.Lock()
		ch := c.iqs[id]
		delete(c.iqs, id)
		c.mu.Unlock()
		if ch != nil {
			ch <- append([]byte(nil), st...)
		}
	}
}

func (c *XMPPClient) isRoom(room string) bool {
	for _, r := range c.Rooms {
		if r == room {
			return true
		}
	}
	return false
}

// IQ sends a request and waits for its answer.
func (c *XMPPClient) IQ(to, typ, payload string) ([]byte, error) {
	c.mu.Lock()
	c.idn++
	id := fmt.Sprintf("q%d", c.idn)
	ch := make(chan []byte, 1)
	c.iqs[id] = ch
	c.mu.Unlock()
	_ = c.Raw("<iq type='" + typ + "' id='" + id + "' to='" + esc.Replace(to) + "'>" + payload + "</iq>")
	select {
	case b := <-ch:
		return b, nil
	case <-time.After(5 * time.Second):
		return nil, errors.New("iq timeout")
	}
}

// Raw sends XML at once.
func (c *XMPPClient) Raw(s string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return net.ErrClosed
	}
	_, _ = c.w.WriteString(s)
	return c.w.Flush()
}

// Post queues a message: groupchat to a room of ours, chat to anyone else.
func (c *XMPPClient) Post(target, text string, flush bool) error {
	if !c.up.Load() {
		return net.ErrClosed
	}
	typ := "chat"
	if c.isRoom(target) {
		typ = "groupchat"
	}
	payload := c.Codec.Encode(c, target, text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idn++
	fmt.Fprintf(c.w, "<message type='%s' id='m%d' to='%s'>%s</message>", typ, c.idn, esc.Replace(target), payload)
	if flush {
		return c.w.Flush()
	}
	return nil
}
