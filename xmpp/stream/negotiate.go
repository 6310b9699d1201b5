package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
)

// Namespaces of the stream.
const (
	nsClient  = "jabber:client"
	nsStream  = "http://etherx.jabber.org/streams"
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession = "urn:ietf:params:xml:ns:xmpp-session"
	nsStreams = "urn:ietf:params:xml:ns:xmpp-streams"
	nsStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsSM      = "urn:xmpp:sm:3"
)

// parserLimits are those of stanzas of up to n bytes: a stanza that may be so long may
// also have as many short elements, as the list of a large room's members has.
func parserLimits(n int) element.Limits {
	return element.Limits{Bytes: n, Children: max(n/64, 4096), Elements: max(n/16, 16384)}
}

// maxEarly is how many stanzas may come before the session is ready.
const maxEarly = 64

// negotiation is a stream that is not ready yet (RFC 6120 §4.3).
type negotiation struct {
	c      Config
	conn   net.Conn
	secure bool
	doing  string // for errors: what was under way

	framer *framer
	parser *element.Parser
	early  []*element.Element // stanzas that came while we waited for something else
}

// run negotiates TLS, login, resource and stream management, in this order,
// whatever order the server lists them in.
func (n *negotiation) run(ctx context.Context) (*Stream, error) {
	features, err := n.secured(ctx)
	if err != nil {
		return nil, err
	}
	n.doing = "logging in"
	if features, err = n.login(features); err != nil {
		return nil, err
	}
	n.doing = "binding the resource"
	return n.session(features)
}

// secured opens the stream and does TLS, if that is asked for. It returns what the
// server offers then.
func (n *negotiation) secured(ctx context.Context) (*element.Element, error) {
	n.framer = newFramer(idleReader{n.conn, n.c.OnIdle}, n.c.MaxStanza)
	n.doing = "opening the stream"
	features, err := n.open()
	if err != nil || n.secure || n.c.TLS.Mode == NoTLS {
		return features, err
	}
	n.doing = "starting TLS"
	return n.startTLS(ctx, features)
}

// open sends a stream header and reads the server's, and its features.
func (n *negotiation) open() (*element.Element, error) {
	head := "<?xml version='1.0'?><stream:stream to='" + n.c.JID.Domainpart() + "'"
	if n.secure {
		head += " from='" + n.c.JID.Bare().String() + "'" // not before TLS (RFC 6120 §4.7.1)
	}
	head += " version='1.0' xml:lang='en' xmlns='" + nsClient + "' xmlns:stream='" + nsStream + "'>"
	if _, err := io.WriteString(n.conn, head); err != nil {
		return nil, err
	}
	kind, frame, err := n.framer.next()
	if err != nil {
		return nil, fmt.Errorf("reading the stream header: %w", unexpected(err))
	}
	if kind != frameHeader {
		return nil, notWellFormed("no stream header")
	}
	e, scope, err := element.ParseOpen(frame, element.Scope{}, element.Limits{})
	if err != nil {
		return nil, fmt.Errorf("reading the stream header: %w", err)
	}
	if !e.Is(nsStream, "stream") {
		return nil, &StreamError{Condition: "invalid-namespace", Text: "the root is not <stream:stream/>", Ours: true}
	}
	n.parser = element.NewParser(scope, parserLimits(n.c.MaxStanza))
	features, err := n.read()
	if err != nil {
		return nil, err
	}
	if !features.Is(nsStream, "features") {
		return nil, fmt.Errorf("the server sent <%s/> where its features belong", features.Local)
	}
	return features, nil
}

// read returns the next element; a stream error is an error.
func (n *negotiation) read() (*element.Element, error) {
	kind, frame, err := n.framer.next()
	if err != nil {
		return nil, unexpected(err)
	}
	if kind == frameEnd {
		return nil, errors.New("the server closed the stream")
	}
	e, err := n.parser.Parse(frame)
	if err != nil {
		return nil, err
	}
	if e.Is(nsStream, "error") {
		return nil, streamError(e)
	}
	return e, nil
}

func (n *negotiation) write(e *element.Element) error {
	_, err := n.conn.Write(element.AppendXML(nil, e, nsClient))
	return err
}

// ask sends e and reads the answer.
func (n *negotiation) ask(e *element.Element) (*element.Element, error) {
	if err := n.write(e); err != nil {
		return nil, err
	}
	return n.read()
}

// startTLS upgrades the connection (RFC 6120 §5.4).
func (n *negotiation) startTLS(ctx context.Context, features *element.Element) (*element.Element, error) {
	if features.Child(nsTLS, "starttls") == nil {
		return nil, ErrNoTLS
	}
	answer, err := n.ask(element.New(nsTLS, "starttls"))
	if err != nil {
		return nil, err
	}
	if !answer.Is(nsTLS, "proceed") {
		return nil, ErrNoTLS
	}
	if n.framer.buffered() > 0 {
		// Someone injected it in clear, to be read as if it had come through TLS.
		return nil, notWellFormed("data behind <proceed/>")
	}
	conn, err := handshake(ctx, n.conn, n.c)
	if err != nil {
		return nil, err
	}
	n.conn, n.secure = conn, true
	n.framer = newFramer(idleReader{conn, n.c.OnIdle}, n.c.MaxStanza)
	return n.open()
}

// session resumes the old session, or binds the resource and enables stream
// management.
func (n *negotiation) session(features *element.Element) (*Stream, error) {
	offered := features.Child(nsSM, "sm") != nil && !n.c.NoSM
	if r := n.c.Resume; offered && r.usable() {
		n.doing = "resuming the session"
		ok, again, err := n.resume(r.sm)
		if err != nil {
			return nil, err
		}
		if ok {
			s := newStream(n, r.sm.jid, r.sm)
			s.resumed, s.skip = true, again
			return s.begin(), nil
		}
		n.doing = "binding the resource"
	}
	bound, err := n.bind(features)
	if err != nil {
		return nil, err
	}
	if old := features.Child(nsSession, "session"); old != nil && old.Child(nsSession, "optional") == nil {
		// Servers of RFC 3921 want it.
		set := element.New(nsClient, "iq", "type", "set", "id", "session").Add(element.New(nsSession, "session"))
		if _, err := n.iq(set); err != nil {
			return nil, fmt.Errorf("establishing the session: %w", err)
		}
	}
	sm := newManagement()
	if offered {
		n.doing = "enabling stream management"
		if err := n.enable(sm); err != nil {
			return nil, err
		}
		sm.uncounted, sm.jid = uint64(len(n.early)), bound
	}
	s := newStream(n, bound, sm)
	s.left = n.c.Resume.leftover()
	return s.begin(), nil
}

// bind asks for the resource (RFC 6120 §7).
func (n *negotiation) bind(features *element.Element) (jid.JID, error) {
	if features.Child(nsBind, "bind") == nil {
		return jid.JID{}, errors.New("the server offers no resource binding")
	}
	want := n.c.JID.Resourcepart()
	payload := element.New(nsBind, "bind")
	if want != "" {
		payload.Add(element.New(nsBind, "resource").SetText(want))
	}
	answer, err := n.iq(element.New(nsClient, "iq", "type", "set", "id", "bind").Add(payload))
	if err != nil {
		return jid.JID{}, fmt.Errorf("binding resource %q: %w", want, err)
	}
	text := ""
	if e := answer.Child(nsBind, "bind").Child(nsBind, "jid"); e != nil {
		text = strings.TrimSpace(e.Text)
	}
	bound, err := jid.Parse(text)
	if err != nil || bound.Resourcepart() == "" {
		return jid.JID{}, errors.New("the server bound no usable JID")
	}
	if want != "" && bound.Resourcepart() != want {
		n.c.Log.Warn("the server gave us another resource", "to", bound.String())
	}
	return bound, nil
}

// enable turns XEP-0198 on (§3), with resumption where the server does that. A
// refusal is no error.
func (n *negotiation) enable(m *management) error {
	ask := element.New(nsSM, "enable", "resume", "true", "max", strconv.Itoa(int(resumeMax.Seconds())))
	if err := n.write(ask); err != nil {
		return err
	}
	for {
		e, err := n.read()
		switch {
		case err != nil:
			return err
		case e.Is(nsSM, "enabled"):
			m.on = true
			if r := e.Get("resume"); r == "true" || r == "1" {
				m.id, m.location = e.Get("id"), e.Get("location")
				seconds, _ := strconv.ParseUint(e.Get("max"), 10, 32) // 0 if it does not say
				m.max = time.Duration(seconds) * time.Second
			}
			return nil
		case e.Is(nsSM, "failed"):
			n.c.Log.Warn("the server refuses stream management")
			return nil
		}
		if err := n.keep(e); err != nil {
			return err
		}
	}
}

// iq sends an IQ and waits for its answer.
func (n *negotiation) iq(iq *element.Element) (*element.Element, error) {
	if err := n.write(iq); err != nil {
		return nil, err
	}
	for {
		e, err := n.read()
		if err != nil {
			return nil, err
		}
		if !e.Is(nsClient, "iq") || e.Get("id") != iq.Get("id") {
			if err := n.keep(e); err != nil {
				return nil, err
			}
			continue
		}
		switch e.Get("type") {
		case "result":
			return e, nil
		case "error":
			return nil, stanzaError(e)
		}
	}
}

// keep puts a stanza aside for Next.
func (n *negotiation) keep(e *element.Element) error {
	if len(n.early) >= maxEarly {
		return fmt.Errorf("the server sent %d stanzas before the session was ready", maxEarly)
	}
	if isStanza(e) {
		n.early = append(n.early, e)
	}
	return nil
}

func isStanza(e *element.Element) bool {
	return e != nil && e.Space == nsClient && (e.Local == "message" || e.Local == "presence" || e.Local == "iq")
}

// unexpected makes an end of input within a negotiation an error that says so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// streamError reads a <stream:error/> (RFC 6120 §4.9).
func streamError(e *element.Element) *StreamError {
	out := &StreamError{Condition: "undefined-condition"}
	for _, c := range e.Children {
		switch {
		case c.Is(nsStreams, "text"):
			out.Text = c.Text
		case c.Space == nsStreams:
			out.Condition = c.Local
			if c.Local == "see-other-host" {
				out.Host = strings.TrimSpace(c.Text)
			}
		}
	}
	return out
}

// stanzaError reads the <error/> of an IQ (RFC 6120 §8.3); that of a refused
// resource is "conflict", as for a stream.
func stanzaError(iq *element.Element) *StreamError {
	out := &StreamError{Condition: "undefined-condition"}
	e := iq.Child(nsClient, "error")
	if e == nil {
		return out
	}
	for _, c := range e.Children {
		switch {
		case c.Is(nsStanzas, "text"):
			out.Text = c.Text
		case c.Space == nsStanzas:
			out.Condition = c.Local
		}
	}
	return out
}
