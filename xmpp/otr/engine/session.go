package engine

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // what OTR has
	"encoding/binary"
	"fmt"
	"math/big"

	"golang.org/x/crypto/otr"
)

// macBytes is the length of the MACs on the wire.
const macBytes = 20

// padTo is the multiple of bytes that texts are filled up to.
const padTo = 256

// maxOldMACs bounds the MAC keys that wait to be revealed: a peer that only writes
// could let them grow. Those beyond it are never revealed, which costs only some of
// the deniability.
const maxOldMACs = 32 * macBytes

// Types of the records behind a text.
const (
	tlvPadding = iota
	tlvDisconnected
	tlvSMP1
	tlvSMP2
	tlvSMP3
	tlvSMP4
	tlvSMPAbort
	tlvSMP1Q
)

type tlv struct {
	typ  uint16
	data []byte
}

// flagIgnore marks a message of which nobody should be told when it cannot be read:
// heartbeats, SMP.
const flagIgnore = 1

// session is the keys that one handshake gave, and those that followed.
type session struct {
	wire wire
	peer otr.PublicKey
	ssid [8]byte
	smp  smp

	// Ours: last is the newest the peer may know, which we send with; next is the
	// one we announce. myID is the number of last.
	last, next dhKey
	myID       uint32
	// Theirs: cur is the newest they announced, before the one before.
	cur, before *big.Int
	theirID     uint32

	slots   []slot
	counter uint64 // of the last message sent
	oldMACs []byte
}

// slot is what a pair of keys gives.
type slot struct {
	myID, theirID    uint32
	sendAES, sendMAC []byte
	recvAES, recvMAC []byte
	counter          uint64 // of the last message received
	used             bool   // to verify a message
}

func newSession(w wire, peer otr.PublicKey, ssid [8]byte, mine dhKey, theirID uint32, theirs *big.Int) *session {
	return &session{
		wire: w, peer: peer, ssid: ssid, last: mine, next: newDHKey(), myID: firstKeyID, cur: theirs, theirID: theirID,
	}
}

// slotFor returns the keys of a pair, or nil if one of the two is not known, or not
// any more.
func (s *session) slotFor(myID, theirID uint32) *slot {
	for i := range s.slots {
		if s.slots[i].myID == myID && s.slots[i].theirID == theirID {
			return &s.slots[i]
		}
	}
	mine, theirs := s.last, s.cur
	if myID == s.myID+1 {
		mine = s.next
	} else if myID != s.myID {
		return nil
	}
	if theirID != s.theirID {
		if theirs = s.before; theirs == nil || theirID+1 != s.theirID {
			return nil
		}
	}
	secret := appendMPI(nil, pow(theirs, mine.priv))
	high, low := byte(1), byte(2)
	if mine.pub.Cmp(theirs) <= 0 {
		high, low = low, high
	}
	sl := slot{myID: myID, theirID: theirID}
	sl.sendAES, sl.sendMAC = dataKeys(high, secret)
	sl.recvAES, sl.recvMAC = dataKeys(low, secret)
	s.slots = append(s.slots, sl)
	return &s.slots[len(s.slots)-1]
}

func dataKeys(end byte, secret []byte) (aesKey, macKey []byte) {
	h := sha1.Sum(append([]byte{end}, secret...)) // what OTR has
	m := sha1.Sum(h[:16])                         // what OTR has
	return bytes.Clone(h[:16]), m[:]
}

// retire forgets the keys that match, and keeps the MAC keys they verified with to
// be revealed.
func (s *session) retire(match func(*slot) bool) {
	kept := s.slots[:0]
	for _, sl := range s.slots {
		if !match(&sl) {
			kept = append(kept, sl)
			continue
		}
		if sl.used && len(s.oldMACs) < maxOldMACs {
			s.oldMACs = append(s.oldMACs, sl.recvMAC...)
		}
		sl.wipe()
	}
	clear(s.slots[len(kept):])
	s.slots = kept
}

// wipe overwrites keys that are not needed any more. It is as much as can be done:
// math/big and the garbage collector may have made copies.
func (sl *slot) wipe() {
	for _, k := range [][]byte{sl.sendAES, sl.sendMAC, sl.recvAES, sl.recvMAC} {
		clear(k)
	}
}

// wipe ends a session; nil has nothing to end.
func (s *session) wipe() {
	if s == nil {
		return
	}
	for i := range s.slots {
		s.slots[i].wipe()
	}
	s.last.wipe()
	s.next.wipe()
	s.smp = smp{}
}

// receive opens a data message; raw is all of it, in what follows its header.
func (s *session) receive(raw, in []byte) (text []byte, tlvs []tlv, err error) {
	r := reader{in: in}
	flags, theirID, myID := r.u8(), r.u32(), r.u32()
	y, ctr, encrypted := r.mpi(groupBits), r.bytes(8), r.data()
	covered := raw[:len(raw)-len(r.in)]
	mac, _ := r.bytes(macBytes), r.data()
	if !r.end() || myID == 0 || theirID == 0 {
		return nil, nil, fmt.Errorf("%w: data message", ErrMalformed)
	}
	unreadable := ErrUnreadable
	if flags&flagIgnore != 0 {
		unreadable = ErrIgnorable
	}
	sl := s.slotFor(myID, theirID)
	if sl == nil {
		return nil, nil, fmt.Errorf("%w: keys not known", unreadable)
	}
	sum := hmac.New(sha1.New, sl.recvMAC)
	sum.Write(covered)
	if !hmac.Equal(sum.Sum(nil), mac) {
		return nil, nil, fmt.Errorf("%w: MAC", unreadable)
	}
	n := binary.BigEndian.Uint64(ctr)
	if n <= sl.counter {
		return nil, nil, ErrReplay
	}
	if !inGroup(y) {
		return nil, nil, fmt.Errorf("%w: announced key", ErrMalformed)
	}
	sl.counter, sl.used = n, true
	plain := bytes.Clone(encrypted)
	xor(sl.recvAES, ctr, plain)
	s.rotate(myID, theirID, y)
	text, tlvs = records(plain)
	return text, tlvs, nil
}

// rotate follows the peer to newer keys: it has ours, and announces its next one.
func (s *session) rotate(myID, theirID uint32, y *big.Int) {
	if myID == s.myID+1 {
		old := s.myID
		s.retire(func(sl *slot) bool { return sl.myID == old })
		s.last.wipe()
		s.last, s.next = s.next, newDHKey()
		s.myID++
	}
	if theirID == s.theirID {
		s.retire(func(sl *slot) bool { return sl.theirID+1 == theirID })
		s.before, s.cur = s.cur, y
		s.theirID++
	}
}

// records cuts a decrypted message into its text and what follows it. What is cut
// short at the end is left out.
func records(plain []byte) (text []byte, tlvs []tlv) {
	text, rest, _ := bytes.Cut(plain, []byte{0})
	r := reader{in: rest}
	for len(r.in) > 0 {
		t := tlv{typ: r.u16()}
		t.data = r.bytes(int(r.u16()))
		if r.bad {
			break
		}
		tlvs = append(tlvs, t)
	}
	return text, tlvs
}

// maxDataHeader is what goes before the encrypted part of a data message, at most.
const maxDataHeader = 11 + 1 + 2*4 + 4 + groupBits/8 + 8 + 4

func appendShort(out, v []byte) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(v))), v...)
}

// send makes a data message. text must not hold a NUL: records follow it.
func (s *session) send(flags byte, text []byte, extra ...tlv) ([]byte, error) {
	sl := s.slotFor(s.myID, s.theirID)
	if sl == nil {
		return nil, ErrNoSession // cannot be: both are the newest of their kind
	}
	size := len(text) + 1
	for _, t := range extra {
		size += 4 + len(t.data)
	}
	pad := padTo - (size+4)%padTo
	size += 4 + pad
	s.counter++
	ctr := binary.BigEndian.AppendUint64(nil, s.counter)

	out := make([]byte, 0, maxDataHeader+size+macBytes+4+len(s.oldMACs))
	out = append(s.wire.appendHeader(out, typeData), flags)
	out = binary.BigEndian.AppendUint32(out, s.myID)
	out = binary.BigEndian.AppendUint32(out, s.theirID)
	out = append(appendMPI(out, s.next.pub), ctr...)
	out = binary.BigEndian.AppendUint32(out, uint32(size))
	at := len(out)
	out = append(append(out, text...), 0)
	for _, t := range extra {
		out = binary.BigEndian.AppendUint16(out, t.typ)
		out = appendShort(out, t.data)
	}
	out = binary.BigEndian.AppendUint16(out, tlvPadding)
	out = appendShort(out, make([]byte, pad))
	xor(sl.sendAES, ctr, out[at:])
	sum := hmac.New(sha1.New, sl.sendMAC)
	sum.Write(out)
	out = appendData(sum.Sum(out), s.oldMACs)
	s.oldMACs = nil
	return out, nil
}
