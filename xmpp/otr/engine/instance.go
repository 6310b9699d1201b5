package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// minTag is the least instance tag (Protocol v3, "Instance Tags").
const minTag = 0x100

// maxInstances bounds the instances of one conversation. Behind one resource there
// is one, as a rule, and one more after a client has begun anew.
const maxInstances = 4

// Tag returns our instance tag by the key. It is the same after a restart: peers
// would go on talking to the one before, and nobody would mind.
func (k *Key) Tag() uint32 {
	sum := sha256.Sum256(append([]byte("instance tag of "), k.fpr...))
	return max(binary.BigEndian.Uint32(sum[:]), minTag)
}

// wire is what the headers of messages say.
type wire struct {
	version      byte
	mine, theirs uint32 // instance tags, by version 3; theirs is 0 for anybody
}

// headerLen is the length of the header by version 2; version 3 has two tags more.
const headerLen = 3

func (w wire) header(typ byte) []byte { return w.appendHeader(make([]byte, 0, 512), typ) }

func (w wire) appendHeader(out []byte, typ byte) []byte {
	out = append(out, 0, w.version, typ)
	if w.version == 3 {
		out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(out, w.mine), w.theirs)
	}
	return out
}

// header reads that of a message, and returns what follows it.
func (c *Conversation) header(raw []byte) (typ byte, w wire, in []byte, err error) {
	r := reader{in: raw}
	version := r.u16()
	typ = r.u8()
	switch {
	case !r.bad && version == 2:
		return typ, wire{version: 2}, r.in, nil
	case r.bad || version != 3:
		return 0, w, nil, fmt.Errorf("%w: %d", ErrVersion, version)
	}
	from, to := r.u32(), r.u32()
	switch {
	case r.bad || !ValidTags(from, to) || to == 0 && typ != typeDHCommit || from == c.tag:
		return 0, w, nil, fmt.Errorf("%w: instance tags", ErrMalformed)
	case to != 0 && to != c.tag:
		return 0, w, nil, ErrElsewhere
	}
	return typ, wire{version: 3, mine: c.tag, theirs: from}, r.in, nil
}

// ValidTags reports whether a message or piece of one may have them: only the
// receiver's may be 0, for anybody.
func ValidTags(from, to uint32) bool { return from >= minTag && (to == 0 || to >= minTag) }

// instance is one client of the peer. All of version 2 are one, with the tag 0.
type instance struct {
	wire wire
	auth handshake
	cur  *session
	old  *session // the one before, for what was under way
	// offer is the number of the last of our offers that it has answered.
	offer uint64
	turn  uint64 // when it last proved to be there, or was met
}

func (p *instance) end() {
	p.cur.wipe()
	p.old.wipe()
	p.cur, p.old = nil, nil
}

func (s *session) fingerprint() string { return hexFingerprint(s.peer.Fingerprint()) }

// find returns the instance with a tag, or nil.
func (c *Conversation) find(tag uint32) *instance {
	for _, p := range c.peers {
		if p.wire.theirs == tag {
			return p
		}
	}
	return nil
}

// peer returns the instance of a header; a new one if there is none. Where there are
// too many the longest silent one goes, without a session first and never the one
// in use.
func (c *Conversation) peer(w wire) *instance {
	if p := c.find(w.theirs); p != nil {
		return p
	}
	if len(c.peers) >= maxInstances {
		var worst *instance
		for _, p := range c.peers {
			if p != c.inUse && (worst == nil || worst.cur != nil && p.cur == nil || (worst.cur == nil) == (p.cur == nil) && p.turn < worst.turn) {
				worst = p
			}
		}
		worst.end()
		c.peers = slices.DeleteFunc(c.peers, func(p *instance) bool { return p == worst })
		if c.asker == worst {
			c.asker = nil
		}
	}
	p := &instance{wire: w}
	c.peers = append(c.peers, p)
	c.spoke(p)
	return p
}

func (c *Conversation) spoke(p *instance) {
	c.turn++
	p.turn = c.turn
}

// begun takes a session that a handshake gave. It is in use at once if there is no
// other: whether it is better than another one is the caller's to say, by Use.
func (c *Conversation) begun(p *instance, s *session) {
	p.old.wipe()
	p.old, p.cur = p.cur, s
	c.spoke(p)
	if p.wire.version == 3 {
		c.taken = true
	}
	if c.cur() == nil {
		c.inUse = p
	}
}
