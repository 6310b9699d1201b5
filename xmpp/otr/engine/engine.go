package engine

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
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

// maxHandshake bounds the messages of a handshake, in bytes: with the longest key
// they have less than half of it.
const maxHandshake = 4096

// maxQuestion bounds the question of a secret, in bytes.
const maxQuestion = 1024

// What a caller of a Conversation branches on.
var (
	ErrNoSession  = errors.New("otr: no session")
	ErrMalformed  = errors.New("otr: malformed")
	ErrVersion    = errors.New("otr: message of another version")
	ErrUnreadable = errors.New("otr: made with keys that are not ours")
	// ErrIgnorable is ErrUnreadable of a message that nobody waits for: a heartbeat.
	ErrIgnorable = errors.New("otr: unreadable, and not to be mentioned")
	ErrReplay    = errors.New("otr: replayed")
	// ErrElsewhere is for another client by our account.
	ErrElsewhere = errors.New("otr: for another instance")
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
	Instance    uint32 // that sent it; 0 by version 2
	Fingerprint string // of the session it came in
	Event       Event
	Question    string // with SMPAsked, "" if there is none; at most 1024 bytes of anything
}

// Conversation is one end of a conversation with one resource of a peer, behind
// which there may be several instances of a client. Each has its own session; text
// goes to the one in use. A Conversation is not safe for concurrent use. No message
// makes it panic, and none of an outsider changes its sessions.
type Conversation struct {
	key *Key
	tag uint32 // ours
	// offer is our commit of version 3 to whoever answers, by its number; taken is
	// set once somebody has.
	offer  handshake
	offers uint64
	taken  bool
	peers  []*instance // at most maxInstances
	inUse  *instance   // nil for none; its session may be
	asker  *instance   // that asked about the secret last
	turn   uint64
}

// New returns a conversation without a session.
func New(key *Key) *Conversation { return &Conversation{key: key, tag: key.Tag()} }

// cur returns the session in use, or nil.
func (c *Conversation) cur() *session {
	if c.inUse == nil {
		return nil
	}
	return c.inUse.cur
}

// Established reports whether there is a session in use.
func (c *Conversation) Established() bool { return c.cur() != nil }

// Handshaking reports whether a handshake is under way.
func (c *Conversation) Handshaking() bool {
	return c.offer.state != authNone && !c.taken ||
		slices.ContainsFunc(c.peers, func(p *instance) bool { return p.auth.state != authNone })
}

// Fingerprint returns that of the peer of the session in use, "" without one.
func (c *Conversation) Fingerprint() string {
	if s := c.cur(); s != nil {
		return s.fingerprint()
	}
	return ""
}

// Version returns that of the session in use, 0 without one.
func (c *Conversation) Version() byte {
	if s := c.cur(); s != nil {
		return s.wire.version
	}
	return 0
}

// Instance returns the tag of the instance in use, 0 for none and by version 2.
func (c *Conversation) Instance() uint32 {
	if c.inUse == nil {
		return 0
	}
	return c.inUse.wire.theirs
}

// Use takes the session of another instance in use, if there is one.
func (c *Conversation) Use(instance uint32) {
	if p := c.find(instance); p != nil && p.cur != nil {
		c.inUse = p
	}
}

// Commit begins a handshake by version 2 or 3: the answer to a query. Sessions go on
// until it has ended.
func (c *Conversation) Commit(version byte) string {
	if version == 2 {
		p := c.peer(wire{version: 2})
		return armor(p.auth.commit(p.wire))
	}
	c.offers, c.taken = c.offers+1, false
	return armor(c.offer.commit(wire{version: 3, mine: c.tag}))
}

// Renew begins a handshake with the instance in use; "" if there is no session.
func (c *Conversation) Renew() string {
	if c.cur() == nil {
		return ""
	}
	return armor(c.inUse.auth.commit(c.inUse.wire))
}

// Forget drops the handshakes under way.
func (c *Conversation) Forget() {
	c.offer, c.taken = handshake{}, false
	c.peers = slices.DeleteFunc(c.peers, func(p *instance) bool {
		p.auth = handshake{}
		return p.cur == nil && p != c.inUse
	})
}

// ForgetOld drops the keys of the sessions before the current ones.
func (c *Conversation) ForgetOld() {
	for _, p := range c.peers {
		p.old.wipe()
		p.old = nil
	}
}

// End drops all sessions without a word: what the peer sends by them cannot be read
// any more.
func (c *Conversation) End() {
	for _, p := range c.peers {
		p.end()
	}
}

// Disconnect tells the peer that the session in use ends, and ends it. The bot never
// says that when it stops: some clients go on in clear then.
func (c *Conversation) Disconnect() (string, error) {
	msg, err := c.data(flagIgnore, nil, tlv{typ: tlvDisconnected})
	if c.inUse != nil {
		c.inUse.end()
	}
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
	s := c.cur()
	if s == nil {
		return "", ErrNoSession
	}
	return s.message(flags, text, extra...)
}

// message is send, ready for the wire.
func (s *session) message(flags byte, text []byte, extra ...tlv) (string, error) {
	out, err := s.send(flags, text, extra...)
	if err != nil {
		return "", err
	}
	return armor(out), nil
}

// armorPrefix and armorEnd are around the base64 of a message.
const (
	armorPrefix = "?OTR:"
	armorEnd    = "."
)

func armor(msg []byte) string {
	var out strings.Builder
	out.Grow(len(armorPrefix) + base64.StdEncoding.EncodedLen(len(msg)) + len(armorEnd))
	out.WriteString(armorPrefix)
	var buf [512]byte
	for part := range slices.Chunk(msg, len(buf)/4*3) {
		out.Write(base64.StdEncoding.AppendEncode(buf[:0], part))
	}
	out.WriteString(armorEnd)
	return out.String()
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
	typ, w, in, err := c.header(raw)
	if err != nil {
		return Result{}, err
	}
	if typ == typeData {
		return c.onData(w, raw, in)
	}
	if len(raw) > maxHandshake {
		return Result{}, fmt.Errorf("%w: handshake too long", ErrMalformed)
	}
	return c.onHandshake(typ, w, in)
}

func (c *Conversation) onHandshake(typ byte, w wire, in []byte) (res Result, err error) {
	p := c.find(w.theirs)
	if p == nil {
		if typ != typeDHCommit && (typ != typeDHKey || c.offer.state == authNone) {
			return res, nil // nothing of a handshake of ours
		}
		p = c.peer(w)
	}
	if w.version == 3 && p.auth.state == authNone && c.offer.state == awaitDHKey && p.offer != c.offers && (typ == typeDHCommit || typ == typeDHKey) {
		p.auth, p.offer = c.offer.clone(), c.offers // it was meant for them, too
	}
	var reply []byte
	var s *session
	switch typ {
	case typeDHCommit:
		reply, err = p.auth.onCommit(in, w)
	case typeDHKey:
		reply, err = p.auth.onDHKey(in, c.key, w)
	case typeRevealSig:
		reply, s, err = p.auth.onRevealSig(in, c.key, w)
	case typeSig:
		s, err = p.auth.onSig(in, c.key, w)
	default:
		err = fmt.Errorf("%w: type %d", ErrMalformed, typ)
	}
	if reply != nil {
		res.Reply = []string{armor(reply)}
	}
	if s != nil {
		c.begun(p, s)
		res.Event, res.Instance, res.Fingerprint = NewSession, w.theirs, s.fingerprint()
	}
	return res, err
}

func (c *Conversation) onData(w wire, raw, in []byte) (res Result, err error) {
	p := c.find(w.theirs)
	if p == nil || p.cur == nil {
		// Only to learn whether anybody minds.
		if len(in) > 0 && in[0]&flagIgnore != 0 {
			return res, ErrIgnorable
		}
		return res, ErrNoSession
	}
	s := p.cur
	text, tlvs, err := s.receive(raw, in)
	if p.old != nil && (errors.Is(err, ErrUnreadable) || errors.Is(err, ErrIgnorable)) {
		if t, l, e := p.old.receive(raw, in); e == nil {
			s, text, tlvs, err = p.old, t, l, nil
		}
	}
	if err != nil {
		return res, err
	}
	res.Data, res.Text, res.Old, res.Instance, res.Fingerprint = true, text, s == p.old, w.theirs, s.fingerprint()
	if !res.Old {
		c.spoke(p)
		if c.cur() == nil {
			c.inUse = p
		}
		c.records(p, tlvs, &res)
	}
	return res, nil
}

// records deals with what came behind a text: at most one of them matters. Others,
// of which the key for another use of version 3 is one, are for nobody here.
func (c *Conversation) records(p *instance, tlvs []tlv, res *Result) {
	for _, t := range tlvs {
		switch t.typ {
		case tlvDisconnected:
			if p == c.inUse {
				res.Event = PeerEnded
			}
			p.end()
			return
		case tlvSMP1, tlvSMP1Q, tlvSMP2, tlvSMP3, tlvSMP4, tlvSMPAbort:
			c.onSMP(p, t, res)
			return
		}
	}
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
