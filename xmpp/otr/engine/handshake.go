package engine

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"

	"golang.org/x/crypto/otr"
)

// authState is what a handshake waits for (Protocol v2, "The protocol state
// machine": authstate).
type authState uint8

const (
	authNone authState = iota
	awaitDHKey
	awaitRevealSig
	awaitSig
)

// handshake is one authenticated key exchange. Nothing of it touches the session
// that stands, until its peer has proven its key: an outsider can begin one.
type handshake struct {
	state authState

	// Of the side that committed.
	r      [16]byte
	mine   dhKey
	sent   []byte // our commit, then our reveal-signature message, to say it again
	hash   [sha256.Size]byte
	ssid   [8]byte
	theirK authKeys // what the peer's signature is made with

	// Of the other side.
	theirs    *big.Int // the peer's public value
	encrypted []byte   // theirs, until revealed
	digest    []byte   // of theirs
}

// authKeys are the keys of one direction of a handshake.
type authKeys struct{ c, m1, m2 []byte }

// sharedKeys derives what a shared secret gives (Protocol v2, "Computing session
// IDs and AES and MAC keys").
func sharedKeys(s *big.Int) (ssid [8]byte, reveal, sig authKeys) {
	mpi := appendMPI(nil, s)
	h2 := func(b byte) []byte {
		sum := sha256.Sum256(append([]byte{b}, mpi...))
		return sum[:]
	}
	copy(ssid[:], h2(0))
	c := h2(1)
	reveal = authKeys{c: c[:16], m1: h2(2), m2: h2(3)}
	sig = authKeys{c: c[16:], m1: h2(4), m2: h2(5)}
	return ssid, reveal, sig
}

// clone is a handshake for one more who answers the same commit.
func (a *handshake) clone() handshake {
	out := *a
	if a.mine.priv != nil {
		out.mine.priv = new(big.Int).Set(a.mine.priv) // sessions wipe theirs
	}
	return out
}

// commit begins a handshake and returns the D-H commit message.
func (a *handshake) commit(w wire) []byte {
	*a = handshake{state: awaitDHKey, mine: newDHKey()}
	_, _ = rand.Read(a.r[:]) // never fails
	gx := appendMPI(nil, a.mine.pub)
	a.hash = sha256.Sum256(gx)
	xor(a.r[:], nil, gx)
	a.sent = appendData(appendData(w.header(typeDHCommit), gx), a.hash[:])
	return a.sent
}

// onCommit answers a D-H commit message.
func (a *handshake) onCommit(in []byte, w wire) ([]byte, error) {
	r := reader{in: in}
	encrypted, digest := r.data(), r.data()
	if !r.end() || len(digest) != sha256.Size || len(encrypted) > groupBits/8+4 {
		return nil, fmt.Errorf("%w: D-H commit", ErrMalformed)
	}
	switch {
	case a.state == awaitDHKey && bytes.Compare(a.hash[:], digest) > 0:
		return a.sent, nil // both committed: ours stands
	case a.state == awaitRevealSig: // they begin anew: our key is as good as before
	default:
		*a = handshake{mine: newDHKey()}
	}
	a.state = awaitRevealSig
	a.encrypted, a.digest = bytes.Clone(encrypted), bytes.Clone(digest)
	return appendMPI(w.header(typeDHKey), a.mine.pub), nil
}

// onDHKey answers a D-H key message by the reveal-signature message.
func (a *handshake) onDHKey(in []byte, key *Key, w wire) ([]byte, error) {
	if a.state != awaitDHKey && a.state != awaitSig {
		return nil, nil
	}
	r := reader{in: in}
	gy := r.mpi(groupBits)
	if !r.end() || !inGroup(gy) {
		return nil, fmt.Errorf("%w: D-H key", ErrMalformed)
	}
	if a.state == awaitSig {
		if a.theirs.Cmp(gy) == 0 {
			return a.sent, nil // they did not get it
		}
		return nil, nil
	}
	ssid, reveal, sig := sharedKeys(pow(gy, a.mine.priv))
	signed, err := a.signature(key, &reveal, gy)
	if err != nil {
		return nil, err
	}
	a.theirs, a.ssid, a.theirK, a.state = gy, ssid, sig, awaitSig
	a.sent = append(appendData(w.header(typeRevealSig), a.r[:]), signed...)
	return a.sent, nil
}

// onRevealSig answers a reveal-signature message, and ends the handshake.
func (a *handshake) onRevealSig(in []byte, key *Key, w wire) ([]byte, *session, error) {
	if a.state != awaitRevealSig {
		return nil, nil, nil
	}
	bad := func(what string) ([]byte, *session, error) {
		return nil, nil, fmt.Errorf("%w: reveal signature: %s", ErrMalformed, what)
	}
	r := reader{in: in}
	revealed, encrypted, mac := r.data(), r.data(), r.bytes(macBytes)
	if !r.end() || len(revealed) != len(a.r) {
		return bad("fields")
	}
	gxBytes := bytes.Clone(a.encrypted)
	xor(revealed, nil, gxBytes)
	if sum := sha256.Sum256(gxBytes); !hmac.Equal(sum[:], a.digest) {
		return bad("not what was committed to")
	}
	g := reader{in: gxBytes}
	gx := g.mpi(groupBits)
	if !g.end() || !inGroup(gx) {
		return bad("value")
	}
	ssid, reveal, sig := sharedKeys(pow(gx, a.mine.priv))
	peer, keyID, err := a.verify(encrypted, mac, &reveal, gx, key)
	if err != nil {
		return nil, nil, err
	}
	signed, err := a.signature(key, &sig, gx)
	if err != nil {
		return nil, nil, err
	}
	s := newSession(w, peer, ssid, a.mine, keyID, gx)
	*a = handshake{}
	return append(w.header(typeSig), signed...), s, nil
}

// onSig takes a signature message, which ends the handshake.
func (a *handshake) onSig(in []byte, key *Key, w wire) (*session, error) {
	if a.state != awaitSig {
		return nil, nil
	}
	r := reader{in: in}
	encrypted, mac := r.data(), r.bytes(macBytes)
	if !r.end() {
		return nil, fmt.Errorf("%w: signature", ErrMalformed)
	}
	peer, keyID, err := a.verify(encrypted, mac, &a.theirK, a.theirs, key)
	if err != nil {
		return nil, err
	}
	s := newSession(w, peer, a.ssid, a.mine, keyID, a.theirs)
	*a = handshake{}
	return s, nil
}

// firstKeyID is the number of the key that a handshake is made with.
const firstKeyID = 1

// signed is what a signature of a handshake is about.
func signed(m1 []byte, own, other *big.Int, pub *otr.PublicKey, keyID uint32) []byte {
	mac := hmac.New(sha256.New, m1)
	mac.Write(binary.BigEndian.AppendUint32(pub.Serialize(appendMPI(nil, own, other)), keyID))
	return mac.Sum(nil)
}

// signature returns our signature, encrypted and with its MAC.
func (a *handshake) signature(key *Key, k *authKeys, theirs *big.Int) ([]byte, error) {
	sig, err := key.sign(signed(k.m1, a.mine.pub, theirs, key.public(), firstKeyID))
	if err != nil {
		return nil, err
	}
	x := binary.BigEndian.AppendUint32(key.public().Serialize(nil), firstKeyID)
	x = append(x, sig...)
	xor(k.c, nil, x)
	out := appendData(nil, x)
	mac := hmac.New(sha256.New, k.m2)
	mac.Write(out)
	return mac.Sum(out)[:len(out)+macBytes], nil
}

// verify checks the peer's signature. Our own key is none: somebody sends our
// messages back to us, as from another client.
func (a *handshake) verify(encrypted, theirMAC []byte, k *authKeys, theirs *big.Int, own *Key) (pub otr.PublicKey, keyID uint32, err error) {
	bad := func(what string) (otr.PublicKey, uint32, error) {
		return otr.PublicKey{}, 0, fmt.Errorf("%w: handshake: %s", ErrMalformed, what)
	}
	mac := hmac.New(sha256.New, k.m2)
	mac.Write(appendData(nil, encrypted))
	if !hmac.Equal(mac.Sum(nil)[:macBytes], theirMAC) {
		return bad("MAC")
	}
	x := bytes.Clone(encrypted)
	xor(k.c, nil, x)
	r := reader{in: x}
	pub = r.publicKey()
	keyID = r.u32()
	sig := r.bytes(2 * subgroupBytes)
	if !r.end() || keyID == 0 {
		return bad("fields")
	}
	if _, ok := pub.Verify(signed(k.m1, theirs, a.mine.pub, &pub, keyID), sig); !ok {
		return bad("signature")
	}
	if bytes.Equal(pub.Fingerprint(), own.fpr) {
		return bad("the key is ours")
	}
	return pub, keyID, nil
}
