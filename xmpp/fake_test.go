package xmpp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

const nsFake = "test:sealed"

// fakeScheme seals by writing hex. It is "openpgp" to the rules of pins.
type fakeScheme struct {
	mu      sync.Mutex // guards all below
	reach   map[string]error
	gate    map[string]chan struct{} // Open of this text waits
	signErr error
	signs   int
	signed  string // a signature that is good beside "good"
}

func (f *fakeScheme) Name() string { return "openpgp" }

func (f *fakeScheme) Claims(in e2ee.Incoming) bool {
	for _, c := range in.Children {
		if c.Is(nsFake, "panic-claims") {
			panic("claims")
		}
		if c.Is(nsFake, "x") {
			return true
		}
	}
	return false
}

func (f *fakeScheme) Reach(p e2ee.Peer) (policy.Rung, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.reach[p.Person.Name]; err != nil {
		return policy.Clear, err
	}
	return policy.Verified, nil
}

func (f *fakeScheme) Seal(_ context.Context, p e2ee.Peer, text e2ee.Plain) (e2ee.Payload, error) {
	s := text.Reveal()
	switch s {
	case "panic":
		panic("seal")
	case "too large":
		return e2ee.Payload{}, e2ee.ErrTooLarge
	case "no session": // a query goes out, the text waits
		return e2ee.Payload{Children: []*element.Element{element.New(nsFake, "query")}, Body: "?"}, e2ee.ErrHandshake
	}
	rung := policy.Verified
	if s == "revoked meanwhile" {
		rung = policy.Signed
	}
	return e2ee.Payload{
		Rung:     rung,
		Children: []*element.Element{element.New(nsFake, "x").SetText(hex.EncodeToString([]byte(p.Person.Name + ":" + s)))},
		Body:     "fallback", EME: nsFake, Store: true,
	}, nil
}

func (f *fakeScheme) Open(_ context.Context, _ e2ee.Peer, in e2ee.Incoming) (e2ee.Opened, error) {
	for _, c := range in.Children {
		if !c.Is(nsFake, "x") {
			continue
		}
		b, err := hex.DecodeString(strings.TrimSpace(c.Text))
		if err != nil {
			return e2ee.Opened{}, e2ee.ErrMalformed
		}
		f.mu.Lock()
		gate := f.gate[string(b)]
		f.mu.Unlock()
		if gate != nil {
			<-gate
		}
		switch string(b) {
		case "panic":
			panic("open")
		case "commit":
			return e2ee.Opened{Silent: true, Reply: []e2ee.Payload{{Children: []*element.Element{element.New(nsFake, "key")}, NoCopy: true}}}, nil
		case "silent":
			return e2ee.Opened{Silent: true}, nil
		case "wrong key":
			return e2ee.Opened{}, e2ee.ErrWrongKey
		}
		o := e2ee.NewOpened(string(b), policy.Sealed, "")
		if rung, fpr, ok := strings.Cut(string(b), " "); ok && (rung == "signed" || rung == "verified") {
			o.Rung, _ = policy.ParseRung(rung)
			o.Fingerprint = fpr
		}
		o.Redelivered = string(b) == "seen before"
		return o, nil
	}
	return e2ee.Opened{}, errors.New("not mine")
}

func (f *fakeScheme) SignPresence(status string) (*element.Element, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signs++
	if f.signErr != nil {
		return nil, f.signErr
	}
	return element.New(nsSigned, "x").SetText(fmt.Sprintf("signature %d of [%s]", f.signs, status)), nil
}

func (f *fakeScheme) VerifyPresence(p e2ee.Peer, _ string, x *element.Element) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x.Text == "good" || f.signed != "" && x.Text == f.signed {
		return nil
	}
	return e2ee.ErrSignature
}

func (f *fakeScheme) setSigned(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signed = text
}

func (f *fakeScheme) setReach(person string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reach == nil {
		f.reach = map[string]error{}
	}
	f.reach[person] = err
}

// fakeSink remembers what it was given, as lines of transcripts.
type fakeSink struct {
	mu       sync.Mutex // guards all below
	messages []string
	events   []string
	proofs   []string
	taken    []func(bool)
	hold     bool          // Taken is left to the test
	stall    chan struct{} // Take waits for it
	keep     bool          // kept holds what was taken
	kept     []bridge.Message
}

func (f *fakeSink) Take(ctx context.Context, m bridge.Message) error {
	f.mu.Lock()
	stall := f.stall
	f.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	f.messages = append(f.messages, messageLine(m))
	hold := f.hold
	if f.keep {
		f.kept = append(f.kept, m)
	}
	if hold {
		f.taken = append(f.taken, m.Taken)
	}
	f.mu.Unlock()
	if !hold {
		m.Taken(m.Kind != bridge.Unreadable)
	}
	return nil
}

func (f *fakeSink) Notify(_ context.Context, e bridge.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, eventLine(e))
	return nil
}

func (f *fakeSink) Prove(p bridge.Proof) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := fmt.Sprintf("%s %s %s", [...]string{"", "delivered", "failed", "doubt"}[p.Outcome], p.Room.Name, p.ID)
	if p.NetID != "" {
		s += " as " + p.NetID
	}
	if p.Err != nil {
		s += ": " + p.Err.Error()
	}
	f.proofs = append(f.proofs, s)
}

func messageLine(m bridge.Message) string {
	kind := [...]string{"say", "action", "notice", "unreadable"}[m.Kind]
	s := fmt.Sprintf("%s %s %s", m.Room.Name, kind, m.Rung)
	if m.Scheme != "" {
		s += "/" + m.Scheme
	}
	s += " from " + m.From.Nick
	if m.From.Person != "" {
		s += " person=" + m.From.Person
	}
	if m.From.JID != "" {
		s += " jid=" + m.From.JID
	}
	if m.From.Client != "" {
		s += " client=" + m.From.Client
	}
	if m.From.Op {
		s += " op"
	}
	if m.ID != "" {
		s += " id=" + m.ID
	}
	if m.Delayed {
		s += " delayed"
	}
	if m.Redelivered {
		s += " redelivered"
	}
	if m.Mark != "" {
		s += " mark=" + m.Mark
	}
	if m.Problem != nil {
		s += " problem=" + m.Problem.Error()
	}
	return s + " | " + strings.ReplaceAll(m.Text.Reveal(), "\n", `\n`)
}

var eventNames = map[bridge.EventKind]string{
	bridge.LegUp: "leg-up", bridge.LegDown: "leg-down", bridge.RoomUp: "room-up", bridge.RoomDown: "room-down",
	bridge.RoomKeys: "room-keys", bridge.Joined: "joined", bridge.Parted: "parted", bridge.Renamed: "renamed",
	bridge.KeyProblem: "key-problem", bridge.Gap: "gap",
}

func eventLine(e bridge.Event) string {
	s := eventNames[e.Kind]
	if e.Room.Name != "" {
		s += " " + e.Room.Name
	}
	if e.Who.Nick != "" {
		s += " " + e.Who.Nick
	}
	if e.Who.Client != "" {
		s += " client=" + e.Who.Client
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// next takes the first line of one of the sink's lists.
func (f *fakeSink) next(list *[]string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(*list) == 0 {
		return "nothing"
	}
	l := (*list)[0]
	*list = (*list)[1:]
	return l
}
