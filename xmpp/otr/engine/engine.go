package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Types of messages (Protocol v2, "The protocol messages").
const (
	typeDHCommit  = 0x02
	typeData      = 0x03
	typeDHKey     = 0x0a
	typeRevealSig = 0x11
	typeSig       = 0x12
)

const (
	version   = 2
	headerLen = 3
)

// maxHandshake bounds the messages of a handshake, in bytes: with the longest key
// they have less than half of it.
const maxHandshake = 4096

// maxQuestion bounds the question of a secret, in bytes.
const maxQuestion = 1024

func header(typ byte) []byte { return append(make([]byte, 0, 512), 0, version, typ) }

// What a caller of a Conversation branches on.
var (
	ErrNoSession  = errors.New("otr: no session")
	ErrMalformed  = errors.New("otr: malformed")
	ErrVersion    = errors.New("otr: message of another version")
	ErrUnreadable = errors.New("otr: made with keys that are not ours")
	// ErrIgnorable is ErrUnreadable of a message that nobody waits for: a heartbeat.
	ErrIgnorable = errors.New("otr: unreadable, and not to be mentioned")
	ErrReplay    = errors.New("otr: replayed")
	ErrBusy      = errors.New("otr: another run of SMP is under way")
)

// Event is what a message changed.
type Event uint8

// The events.
const (
	NoEvent      Event = iota
	NewSession         // a handshake has ended: the session is another one now
	PeerEnded          // the peer has ended the session
	SMPAsked           // the peer asks whether we know the secret: Answer or Abort
	SMPMatched         // both know the same
	SMPFailed          // they do not, or the run broke off
	SMPAbandoned       // it broke off before anything made of our secret was sent
)

// Result is what came of a message. It counts also where there was an error.
type Result struct {
	Reply []string // to be sent at once
	// Data is set for a data message that is proven to be the peer's. Text may be
	// empty: a heartbeat.
	Data bool
	Text []byte
	// Old is set if it was made with the keys before the current ones.
	Old         bool
	Fingerprint string // of the session it came in
	Event       Event
	Question    string // with SMPAsked, "" if there is none; at most 1024 bytes of anything
}

// Conversation is one end of a conversation with one resource of a peer. It is not
// safe for concurrent use. No message makes it panic, and none of an outsider
// changes its session.
type Conversation struct {
	key  *Key
	auth handshake
	cur  *session
	old  *session // the one before, for what was under way
}

// New returns a conversation without a session.
func New(key *Key) *Conversation { return &Conversation{key: key} }

// Established reports whether there is a session.
func (c *Conversation) Established() bool { return c.cur != nil }

// Handshaking reports whether a handshake is under way.
func (c *Conversation) Handshaking() bool { return c.auth.state != authNone }

// Fingerprint returns that of the session's peer, "" without a session.
func (c *Conversation) Fingerprint() string {
	if c.cur == nil {
		return ""
	}
	return hexFingerprint(c.cur.peer.Fingerprint())
}

// Commit begins a handshake: the answer to a query. A session goes on until the
// handshake has ended.
func (c *Conversation) Commit() string { return armor(c.auth.commit()) }

// Forget drops the handshake under way.
func (c *Conversation) Forget() { c.auth = handshake{} }

// ForgetOld drops the keys of the session before the current one.
func (c *Conversation) ForgetOld() { c.old = nil }

// End drops all sessions without a word: what the peer sends by them cannot be read
// any more.
func (c *Conversation) End() { c.cur, c.old = nil, nil }

// Disconnect tells the peer that the session ends, and ends it. The bot never says
// that when it stops: some clients go on in clear then.
func (c *Conversation) Disconnect() (string, error) {
	msg, err := c.data(flagIgnore, nil, tlv{typ: tlvDisconnected})
	c.End()
	return msg, err
}

// Send encrypts text, of which NULs are left out.
func (c *Conversation) Send(text []byte) (string, error) {
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, nil)
	}
	return c.data(0, text)
}

// Heartbeat makes a message without a text, which lets the peer's keys go on.
func (c *Conversation) Heartbeat() (string, error) { return c.data(flagIgnore, nil) }

func (c *Conversation) data(flags byte, text []byte, extra ...tlv) (string, error) {
	if c.cur == nil {
		return "", ErrNoSession
	}
	out, err := c.cur.send(flags, text, extra...)
	if err != nil {
		return "", err
	}
	return armor(out), nil
}

// Asking reports whether a run of SMP is under way.
func (c *Conversation) Asking() bool { return c.cur != nil && c.cur.smp.active() }

// Exposed reports whether the run of SMP under way has sent something made of the
// secret: if it ends now, it has failed.
func (c *Conversation) Exposed() bool { return c.cur != nil && c.cur.smp.exposed }

// Ask begins a run of SMP. Error: ErrNoSession, or ErrBusy.
func (c *Conversation) Ask(question string, secret []byte) (string, error) {
	switch {
	case c.cur == nil:
		return "", ErrNoSession
	case c.cur.smp.active():
		return "", ErrBusy
	}
	question = strings.ReplaceAll(question, "\x00", "")
	if len(question) > maxQuestion {
		question = strings.ToValidUTF8(question[:maxQuestion], "")
	}
	return c.data(flagIgnore, nil, c.cur.smp.ask(question, c.secret(secret, true)))
}

// Answer gives the secret after SMPAsked.
func (c *Conversation) Answer(secret []byte) (string, error) {
	if c.cur == nil || c.cur.smp.state != answering {
		return "", ErrNoSession
	}
	return c.data(flagIgnore, nil, c.cur.smp.answer(c.secret(secret, false)))
}

// Abort ends a run of SMP, and tells the peer.
func (c *Conversation) Abort() (string, error) {
	if c.cur == nil {
		return "", ErrNoSession
	}
	c.cur.smp = smp{}
	return c.data(flagIgnore, nil, tlv{typ: tlvSMPAbort})
}

// DropSMP ends a run of SMP without a word.
func (c *Conversation) DropSMP() {
	if c.cur != nil {
		c.cur.smp = smp{}
	}
}

// secret binds a shared secret to the two keys and the session.
func (c *Conversation) secret(shared []byte, weAsk bool) *big.Int {
	a, b := c.key.fpr, c.cur.peer.Fingerprint()
	if !weAsk {
		a, b = b, a
	}
	h := sha256.New()
	h.Write([]byte{1})
	h.Write(a)
	h.Write(b)
	h.Write(c.cur.ssid[:])
	h.Write(shared)
	return new(big.Int).SetBytes(h.Sum(nil))
}

// armorPrefix and armorEnd are around the base64 of a message.
const (
	armorPrefix = "?OTR:"
	armorEnd    = "."
)

func armor(msg []byte) string {
	out := make([]byte, 0, len(armorPrefix)+base64.StdEncoding.EncodedLen(len(msg))+len(armorEnd))
	out = append(out, armorPrefix...)
	out = base64.StdEncoding.AppendEncode(out, msg)
	return string(append(out, armorEnd...))
}

func dearmor(msg string) ([]byte, error) {
	body, ok := strings.CutPrefix(msg, armorPrefix)
	body, end := strings.CutSuffix(body, armorEnd)
	if !ok || !end {
		return nil, fmt.Errorf("%w: no OTR message", ErrMalformed)
	}
	raw, err := base64.StdEncoding.DecodeString(body)
	if err != nil || len(raw) < headerLen {
		return nil, fmt.Errorf("%w: base64", ErrMalformed)
	}
	return raw, nil
}

// Receive takes a whole message, "?OTR:" to the full stop.
func (c *Conversation) Receive(msg string) (Result, error) {
	raw, err := dearmor(msg)
	if err != nil {
		return Result{}, err
	}
	if raw[0] != 0 || raw[1] != version {
		return Result{}, fmt.Errorf("%w: %d", ErrVersion, int(raw[0])<<8|int(raw[1]))
	}
	if raw[2] == typeData {
		return c.onData(raw)
	}
	if len(raw) > maxHandshake {
		return Result{}, fmt.Errorf("%w: handshake too long", ErrMalformed)
	}
	return c.onHandshake(raw[2], raw[headerLen:])
}

func (c *Conversation) onHandshake(typ byte, in []byte) (res Result, err error) {
	var reply []byte
	var s *session
	switch typ {
	case typeDHCommit:
		reply, err = c.auth.onCommit(in)
	case typeDHKey:
		reply, err = c.auth.onDHKey(in, c.key)
	case typeRevealSig:
		reply, s, err = c.auth.onRevealSig(in, c.key)
	case typeSig:
		s, err = c.auth.onSig(in)
	default:
		err = fmt.Errorf("%w: type %d", ErrMalformed, typ)
	}
	if reply != nil {
		res.Reply = []string{armor(reply)}
	}
	if s != nil {
		c.old, c.cur = c.cur, s
		res.Event, res.Fingerprint = NewSession, c.Fingerprint()
	}
	return res, err
}

func (c *Conversation) onData(raw []byte) (res Result, err error) {
	s := c.cur
	if s == nil {
		// Only to learn whether anybody minds.
		if len(raw) > headerLen && raw[headerLen]&flagIgnore != 0 {
			return res, ErrIgnorable
		}
		return res, ErrNoSession
	}
	text, tlvs, err := s.receive(raw, raw[headerLen:])
	if c.old != nil && (errors.Is(err, ErrUnreadable) || errors.Is(err, ErrIgnorable)) {
		if t, l, e := c.old.receive(raw, raw[headerLen:]); e == nil {
			s, text, tlvs, err = c.old, t, l, nil
		}
	}
	if err != nil {
		return res, err
	}
	res.Data, res.Text, res.Old, res.Fingerprint = true, text, s == c.old, hexFingerprint(s.peer.Fingerprint())
	if !res.Old {
		c.records(tlvs, &res)
	}
	return res, nil
}

// records deals with what came behind a text: at most one of them matters.
func (c *Conversation) records(tlvs []tlv, res *Result) {
	for _, t := range tlvs {
		switch t.typ {
		case tlvDisconnected:
			res.Event = PeerEnded
			c.End()
			return
		case tlvSMP1, tlvSMP1Q, tlvSMP2, tlvSMP3, tlvSMP4, tlvSMPAbort:
			c.onSMP(t, res)
			return
		}
	}
}

// onSMP takes a message of SMP. One that is not due, or wrong, ends the run.
func (c *Conversation) onSMP(t tlv, res *Result) {
	m := &c.cur.smp
	var out tlv
	var same, done bool
	var err error
	switch {
	case t.typ == tlvSMPAbort:
		if m.active() {
			res.Event = broken(m)
		}
		*m = smp{}
		return
	case t.typ == tlvSMP1 && m.state == expect1:
		err = m.asked(t.data)
	case t.typ == tlvSMP1Q && m.state == expect1:
		question, rest, ok := bytes.Cut(t.data, []byte{0})
		if !ok || len(question) > maxQuestion {
			err = errProof
			break
		}
		res.Question = string(question)
		err = m.asked(rest)
	case t.typ == tlvSMP2 && m.state == expect2:
		out, err = m.second(t.data)
	case t.typ == tlvSMP3 && m.state == expect3:
		out, same, err = m.third(t.data)
		done = true
	case t.typ == tlvSMP4 && m.state == expect4:
		same, err = m.fourth(t.data)
		done = true
	default:
		err = errProof
	}
	switch {
	case err != nil:
		if m.active() {
			res.Event = broken(m)
		}
		res.Question = ""
		*m, out = smp{}, tlv{typ: tlvSMPAbort}
	case m.state == answering:
		res.Event = SMPAsked
	case done && same:
		res.Event, *m = SMPMatched, smp{}
	case done:
		res.Event, *m = SMPFailed, smp{}
	}
	if out.typ != 0 {
		if msg, err := c.data(flagIgnore, nil, out); err == nil {
			res.Reply = append(res.Reply, msg)
		}
	}
}

// broken is the event of a run that broke off.
func broken(m *smp) Event {
	if m.exposed {
		return SMPFailed
	}
	return SMPAbandoned
}

// IsData reports whether msg is a data message, by its type: it needs a session.
func IsData(msg string) bool {
	body, ok := strings.CutPrefix(msg, armorPrefix)
	if !ok || len(body) < 4 {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(body[:4])
	return err == nil && len(raw) == 3 && raw[2] == typeData
}
