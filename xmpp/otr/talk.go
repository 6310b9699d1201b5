package otr

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/otr/engine"
)

// handshakeBurst is how many messages of handshakes a resource may send at once;
// one more every handshakeEvery. A handshake has two or three.
const (
	handshakeBurst = 12
	handshakeEvery = 3 * time.Second
)

// recentIDs is how many stanza ids of opened messages are remembered, to tell a
// redelivery from a replay.
const recentIDs = 64

// talk is the conversation with one resource of a peer.
type talk struct {
	resource string // never changes

	mu   sync.Mutex // guards all below
	dead bool       // taken out of the scheme
	peer e2ee.Peer  // as it was last met
	conv *engine.Conversation

	client Format // what the client is known to write
	shown  Format // what its payloads showed last

	fpr   string    // of the session
	since time.Time // of the session, or of the talk
	heard time.Time // when it last spoke in the session, or the session began
	spoke time.Time // when it last wrote text, in this session or another
	sent  time.Time // when something was last sealed for it
	here  bool      // its presence was seen, or it wrote
	left  time.Time
	// stale is set when the resource left: the session may be gone with it, and
	// nothing is sealed in it before it has spoken by it again.
	stale bool

	asked  time.Time     // last query or commit of ours
	shook  time.Time     // last message of a handshake
	pause  time.Duration // until the next one
	wants  bool          // something waits for a session
	ended  bool          // the peer ended the session
	repeat bool          // a message was unreadable: ask for it once there is a session
	told   time.Time     // when it was last asked for

	parts  assemblies
	bucket int // of handshake messages
	filled time.Time

	finish func(e2ee.SMPOutcome) // of the run of SMP under way, or nil
	smpAt  time.Time

	ids  [recentIDs]string // of messages opened lately
	next int
}

// live reports whether text may be sealed in the session.
func (t *talk) live() bool { return !t.dead && t.conv.Established() && !t.stale }

// turn tells whose turn it is: who spoke last gets the talk, and of those that have
// not spoken the newest session. A client that merely comes online takes nothing
// from the one that its user writes in.
type turn struct{ spoke, heard time.Time }

func (t *talk) turn() turn { return turn{t.spoke, t.heard} }

func (a turn) after(b turn) bool {
	return a.spoke.After(b.spoke) || a.spoke.Equal(b.spoke) && a.heard.After(b.heard)
}

// asPeer is p with the talk's resource.
func (t *talk) asPeer(p e2ee.Peer) e2ee.Peer {
	p.Resource = t.resource
	return p
}

// touched is when anything last happened.
func (t *talk) touched() time.Time {
	last := t.since
	for _, at := range []time.Time{t.heard, t.sent, t.asked, t.left} {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// payload is a message for the resource.
func (t *talk) payload(msg string) e2ee.Payload {
	return e2ee.Payload{Body: msg, EME: EME, NoCopy: true, Resource: t.resource}
}

func (t *talk) payloads(msgs []string) (out []e2ee.Payload) {
	for _, m := range msgs {
		out = append(out, t.payload(m))
	}
	return out
}

// query is what asks for a session. A client without OTR shows it, so it says what
// is the matter.
const query = "?OTRv23?\nThis bot talks only by encrypted messages (OTR), and your client does not seem to have it switched on."

// mayAsk reports whether a query may go out now, and notes that it does. The time
// to the next one doubles until the peer says something.
func (t *talk) mayAsk(now time.Time) bool {
	if !t.asked.IsZero() && now.Sub(t.asked) < max(t.pause, askAgain) {
		return false
	}
	t.pause = min(max(2*t.pause, askAgain), askAgainMax)
	t.asked = now
	return true
}

// mayShake takes one handshake message's worth from the bucket.
func (t *talk) mayShake(now time.Time) bool {
	if n := int(now.Sub(t.filled) / handshakeEvery); n > 0 {
		t.bucket = min(t.bucket+n, handshakeBurst)
		t.filled = now
	}
	if t.bucket == 0 {
		return false
	}
	t.bucket--
	return true
}

// busy reports whether a handshake is under way that may still end.
func (t *talk) busy(now time.Time) bool {
	return t.conv.Handshaking() && now.Sub(t.shook) < handshakeFor
}

func (t *talk) remember(id string) {
	if id != "" {
		t.ids[t.next] = id
		t.next = (t.next + 1) % recentIDs
	}
}

func (t *talk) knows(id string) bool { return id != "" && slices.Contains(t.ids[:], id) }

// endSMP tells how the run of SMP under way ended, if there is one.
func (t *talk) endSMP(o e2ee.SMPOutcome) {
	if t.finish != nil {
		t.finish(o)
		t.finish = nil
	}
}

// broken is the outcome of a run that ends now.
func broken(exposed bool) e2ee.SMPOutcome {
	if exposed {
		return e2ee.SMPFailed
	}
	return e2ee.SMPAbandoned
}

// guarded runs f and makes an error of its panic; the conversation is another one
// then. The engine does not panic; if it does after all, the process must live.
func (s *Scheme) guarded(t *talk, f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			t.endSMP(e2ee.SMPFailed)
			t.conv, t.fpr, t.wants = engine.New(s.key), "", true
			s.log.Error("panic in OTR; the conversation begins anew", "leg", s.account, "from", t.peer.Bare, "err", fmt.Sprintf("%T", v))
			err = errPanic
		}
	}()
	f()
	return nil
}

var errPanic = fmt.Errorf("%w: the OTR engine panicked", e2ee.ErrMalformed)

// Arrive implements e2ee.Session.
func (s *Scheme) Arrive(p e2ee.Peer, client string, talking bool) []e2ee.Payload {
	t, err := s.open(p)
	if err != nil {
		return nil
	}
	defer t.mu.Unlock()
	if f := ofClient(client); f != FormatAuto {
		t.client = f
	}
	now, fresh := s.now(), !t.here
	if fresh {
		t.here, t.pause, t.asked = true, 0, time.Time{}
	}
	if !talking || t.live() || t.busy(now) || s.starts() == StartPeer || !t.wants && !(fresh && s.starts() == StartPresence) {
		return nil
	}
	if !t.mayAsk(now) {
		return nil
	}
	return []e2ee.Payload{t.payload(query)}
}

// Leave implements e2ee.Session.
func (s *Scheme) Leave(p e2ee.Peer) {
	for _, t := range s.of(p.Bare) {
		if p.Resource != "" && t.resource != p.Resource {
			continue
		}
		t.mu.Lock()
		if t.here || t.conv.Established() {
			t.here, t.left = false, s.now()
			t.stale = t.conv.Established()
			t.conv.Forget()
		}
		t.mu.Unlock()
	}
}

// Quit implements e2ee.Session.
func (s *Scheme) Quit(p e2ee.Peer) (out []e2ee.Payload) {
	for _, t := range s.of(p.Bare) {
		t.mu.Lock()
		if t.here && t.conv.Established() {
			var msg string
			var err error
			if perr := s.guarded(t, func() { msg, err = t.conv.Disconnect() }); perr == nil && err == nil {
				out = append(out, t.payload(msg))
			}
		}
		t.mu.Unlock()
		s.forget(t)
	}
	return out
}

// Due implements e2ee.Session. Nothing it returns is sealed in a session.
func (s *Scheme) Due(now time.Time) (out []e2ee.Letter) {
	var gone []*talk
	for _, t := range s.all() {
		t.mu.Lock()
		msg, idle := s.due(t, now)
		if msg != "" {
			out = append(out, e2ee.Letter{To: t.asPeer(t.peer), Payload: t.payload(msg)})
		}
		t.mu.Unlock()
		if idle {
			gone = append(gone, t)
		}
	}
	for _, t := range gone {
		s.forget(t)
	}
	return out
}

// due does what time has made due for one talk, and returns what to send.
func (s *Scheme) due(t *talk, now time.Time) (msg string, idle bool) {
	if now.Sub(t.shook) >= handshakeFor {
		t.conv.Forget()
	}
	if t.conv.Established() && now.Sub(t.since) >= oldFor {
		t.conv.ForgetOld()
	}
	if t.finish != nil && now.Sub(t.smpAt) >= smpFor {
		t.endSMP(broken(t.conv.Exposed()))
		t.conv.DropSMP()
	}
	t.parts.sweep(now)
	keep := idleFor
	if t.conv.Established() {
		keep = keepFor
	}
	switch {
	case !t.here && now.Sub(t.touched()) >= keep:
		return "", true
	case !t.here || t.conv.Handshaking():
	case t.live() && now.Sub(t.since) >= s.rekey && t.finish == nil && t.mayAsk(now):
		t.shook = now
		return t.conv.Renew(), false
	case !t.live() && t.wants && s.starts() != StartPeer && t.mayAsk(now):
		return query, false
	}
	return "", false
}
