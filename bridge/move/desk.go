package move

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/migrate"
	"drawbridge/bridge/wording"
	"drawbridge/policy"
)

// Bounds of conversations.
const (
	// Idle is after how long without a word a conversation ends.
	Idle = 30 * day
	// MaxTalks are kept; who would be one more is told to come back later.
	MaxTalks = 2000
)

// Errors that a World returns.
var (
	// ErrLinksOff: nobody is linked here but by the configuration.
	ErrLinksOff = errors.New("move: accounts are linked by the configuration alone")
	// ErrOften: too many codes in a short time.
	ErrOften = errors.New("move: too many codes in a short time")
)

// Store keeps conversations. migrate.Store is one.
type Store interface {
	PutTalk(ctx context.Context, t migrate.Talk) error
	Talk(ctx context.Context, id string) (t migrate.Talk, ok bool, err error)
	Talks(ctx context.Context) ([]migrate.Talk, error)
	DropTalk(ctx context.Context, id string) error
}

// Server is what the XMPP server of an account can do for newcomers.
type Server struct {
	Invites bool   // gives invitations to accounts
	InBand  bool   // lets everybody make one
	Page    string // the web page where everybody can; "" is none
}

// Invitation is a link by which somebody makes an account.
type Invitation struct {
	Link  string
	Until time.Time // zero: it was not said
}

// World is all that a Desk needs to know and to have done.
type World interface {
	// Person is whom an IRC account is proven to be, by the configuration or a link; nil:
	// nobody. waits: a link is proven, and waits for an admin.
	Person(network, account string) (p *policy.Person, waits bool)
	// Known reports whether the configuration names a JID, Domains where people of it have
	// accounts. Neither is told to who has not proven to be somebody.
	Known(jid string) bool
	Domains() []string
	// Link begins a link, and returns the code that the person has to send. ErrLinksOff,
	// ErrOften.
	Link(ctx context.Context, network, account, nick, jid string) (code string, until time.Time, err error)
	// Server, Invite and AskIn ask the server of an account of the bot's. AskIn invites to
	// a room: directly, by the room itself where it is for members alone.
	Server(ctx context.Context, leg string) Server
	Invite(ctx context.Context, leg string) (Invitation, error)
	AskIn(ctx context.Context, leg, room, jid string) error
	// Key is what is known of a key that somebody with that address names as theirs, by
	// its scheme and fingerprint; person is who the configuration says has the address, ""
	// is nobody.
	Key(jid, scheme, fpr string) (s KeyState, person string)
	// Bot is the bare JID of an account of the bot's, and its fingerprints for people.
	Bot(leg string) (jid, keys string)
	// Usable is the scheme by which something can be sealed to a person now; "" is none.
	// Tell says something to them, sealed.
	Usable(leg, person string) string
	Tell(leg, person, text string) bool
	TellNick(leg, nick, text string)
	TellAdmins(text string)
	// Refuse has an account or nick not counted, or counted again.
	Refuse(ctx context.Context, leg, name string, refuses bool) error
}

// Bridge is a bridge whose people move.
type Bridge struct {
	Name     string
	Channels []bridge.Room
	Leg      string         // the account of the bot's that its people talk to
	Schemes  []string       // in which they can be talked to
	Rooms    []string       // MUCs
	To       string         // where people find the team from now on
	Language string         // "" is English
	Texts    *wording.Texts // nil is wording.Builtin
}

// Deps are what a Desk needs from outside.
type Deps struct {
	Store Store
	World World
	Log   *slog.Logger     // nil is silence
	Now   func() time.Time // nil is time.Now
	Code  func() string    // a fresh code; nil is of crypto/rand
}

// Desk leads conversations. Its methods are safe for concurrent use.
type Desk struct {
	d       Deps
	log     *slog.Logger
	builtin *wording.Texts

	bridges atomic.Pointer[[]Bridge] // read without a lock: a World may wait for who reloads

	turns turns      // of conversations: each goes on one line at a time
	gave  sync.Mutex // guards the list of invitations, never while a server is asked

	notices notices // that admins heard
}

var _ bridge.RoomDesk = (*Desk)(nil)

// New returns a desk of no bridges.
func New(d Deps) *Desk {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Code == nil {
		d.Code = func() string { return rand.Text()[:8] }
	}
	desk := &Desk{d: d, log: d.Log, builtin: wording.Builtin(), turns: turns{by: map[string]*gate{}}}
	desk.bridges.Store(&[]Bridge{})
	return desk
}

// Reload changes which bridges' people move. Conversations go on.
func (d *Desk) Reload(bridges []Bridge) {
	all := slices.Clone(bridges)
	for i := range all {
		if all[i].Texts == nil {
			all[i].Texts = d.builtin
		}
	}
	d.bridges.Store(&all)
}

// Serves reports whether people of a channel move.
func (d *Desk) Serves(channel bridge.Room) bool {
	return slices.ContainsFunc(*d.bridges.Load(), func(b Bridge) bool { return slices.Contains(b.Channels, channel) })
}

// visit is one line of somebody, with all that answering needs.
type visit struct {
	*bridge.Aside
	id   string // of the conversation
	b    *Bridge
	talk Talk
	was  bool // there was a conversation
	late bool // and it had ended by itself
	now  time.Time
}

// Aside implements bridge.AsideDesk: "!move", or an answer to what was asked.
func (d *Desk) Aside(ctx context.Context, a bridge.Aside) string {
	command := a.Words[0] == "!move"
	v := &visit{Aside: &a, now: d.d.Now()}
	here := d.here(&a)
	if len(here) == 0 {
		if command && len(*d.bridges.Load()) > 0 {
			return d.builtin.Say(wording.English, "not_here", nil)
		}
		return ""
	}
	v.b = here[0]
	word := said(a.Words, command)
	if noise(a.Words) {
		return ""
	}
	if a.Account() == "" {
		return d.stranger(ctx, v, command, word)
	}
	v.id = a.Leg + "/" + policy.FoldAccount(a.Account())
	leave, ok := d.turns.enter(ctx, v.id)
	if !ok {
		return d.failed(v, context.Cause(ctx))
	}
	defer leave()
	if err := d.load(ctx, v, here); err != nil {
		return d.failed(v, err)
	}
	if !command && !v.late && (!v.was || v.talk.Step == Done) {
		return "" // not ours
	}
	text, err := d.command(ctx, v, here, command, word)
	if err != nil {
		return d.failed(v, err)
	}
	return text
}

// said is the word of a line that counts: an address or a fingerprint, wherever it
// stands, else the first.
func said(words []string, command bool) string {
	if command {
		words = words[1:]
	}
	if fpr := fingerprintIn(words); fpr != "" {
		return fpr
	}
	if i := slices.IndexFunc(words, func(w string) bool { return strings.Contains(w, "@") }); i >= 0 {
		return words[i]
	}
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// here are the bridges of the channels in which both are.
func (d *Desk) here(a *bridge.Aside) (out []*Bridge) {
	all := *d.bridges.Load()
	for i := range all {
		if slices.ContainsFunc(all[i].Channels, func(r bridge.Room) bool { return slices.Contains(a.Rooms, r) }) {
			out = append(out, &all[i])
		}
	}
	return out
}

// stranger answers who has no account: nothing is changed, but that a nick is not
// counted any more.
func (d *Desk) stranger(ctx context.Context, v *visit, command bool, word string) string {
	if secret := secretIn(v.Words); secret != "" {
		return d.say(v, Say{Key: secret})
	}
	if !command {
		return ""
	}
	word = strings.ToLower(word)
	switch word {
	case "help":
		return d.help(v)
	case "stop", "count":
		if err := d.d.World.Refuse(ctx, v.Leg, v.From.Nick, word == "stop"); err != nil {
			return d.failed(v, err)
		}
		return d.say(v, Say{Key: map[string]string{"stop": "stopped", "count": "counted"}[word]})
	}
	return d.say(v, Say{Key: "not_logged_in"})
}

// load reads the conversation; one that is too old has ended.
func (d *Desk) load(ctx context.Context, v *visit, here []*Bridge) error {
	kept, ok, err := d.d.Store.Talk(ctx, v.id)
	if err != nil || !ok {
		return err
	}
	if v.now.Sub(kept.At) > Idle || json.Unmarshal(kept.Data, &v.talk) != nil {
		v.talk, v.late = Talk{}, true
		return d.d.Store.DropTalk(ctx, v.id)
	}
	if i := slices.IndexFunc(here, func(b *Bridge) bool { return b.Name == v.talk.Bridge }); i >= 0 {
		v.b, v.was = here[i], true
	} else {
		v.talk = Talk{Language: v.talk.Language} // that bridge moves no more
	}
	return nil
}

// goOn takes a word to the conversation; "" asks for its step again.
func (d *Desk) goOn(ctx context.Context, v *visit, word string, first []Say) (string, error) {
	t, said, act := Next(v.talk, v.b.Texts, word, d.facts(ctx, v))
	return d.done(ctx, v, t, append(first, said...), act)
}

// done does what a turn asks for, keeps how far it is, and says it all.
func (d *Desk) done(ctx context.Context, v *visit, t Talk, said []Say, act Act) (string, error) {
	v.talk = t
	v.talk.Nick = v.From.Nick
	more, err := d.carryOut(ctx, v, act)
	if err != nil {
		return "", err
	}
	if err := d.keep(ctx, v); err != nil {
		return "", err
	}
	var lines []string
	for _, s := range append(said, more...) {
		lines = append(lines, d.say(v, s))
	}
	return strings.Join(lines, "\n"), nil
}

// keep writes the conversation down.
func (d *Desk) keep(ctx context.Context, v *visit) error {
	data, err := json.Marshal(&v.talk)
	if err != nil {
		return err
	}
	return d.d.Store.PutTalk(ctx, migrate.Talk{ID: v.id, Step: string(v.talk.Step), At: v.now, Data: data})
}

// say writes one thing in the language of the conversation.
func (d *Desk) say(v *visit, s Say) string {
	return v.b.Texts.Say(v.b.language(&v.talk), s.Key, s.Args)
}

// SayTo writes a text for who has an account of a network, in the language of their
// conversation. Who has none reads that of a bridge of the network (with "": of any), else
// English.
func (d *Desk) SayTo(ctx context.Context, network, account, key string, args map[string]string) string {
	var t Talk
	if account != "" {
		kept, ok, err := d.d.Store.Talk(ctx, network+"/"+policy.FoldAccount(account))
		if err != nil {
			d.log.Warn("a language is not known", "leg", network, "err", err)
		}
		if !ok || d.d.Now().Sub(kept.At) > Idle || json.Unmarshal(kept.Data, &t) != nil {
			t = Talk{}
		}
	}
	all := *d.bridges.Load()
	i := slices.IndexFunc(all, func(b Bridge) bool { return b.Name == t.Bridge })
	if i < 0 {
		i = slices.IndexFunc(all, func(b Bridge) bool {
			return network == "" || slices.ContainsFunc(b.Channels, func(r bridge.Room) bool { return r.Leg == network })
		})
	}
	if i < 0 {
		return d.builtin.Say(wording.English, key, args)
	}
	return all[i].Texts.Say(all[i].language(&t), key, args)
}

func (b *Bridge) language(t *Talk) string {
	for _, l := range []string{t.Language, b.Language} {
		if b.Texts.Has(l) {
			return l
		}
	}
	return wording.English
}

// failed says that something did not work, and notes why.
func (d *Desk) failed(v *visit, err error) string {
	d.log.Error("a move cannot go on", "leg", v.Leg, "from", v.id, "err", err)
	return d.say(v, Say{Key: "broken"})
}

// facts gathers what is known of who speaks.
func (d *Desk) facts(ctx context.Context, v *visit) *Facts {
	w := d.d.World
	v.talk.Language = v.b.language(&v.talk)
	f := &Facts{Account: v.Account(), Network: v.Leg, To: v.b.To, Schemes: v.b.Schemes, Rooms: v.b.Rooms}
	f.Bot, f.Own = w.Bot(v.b.Leg)
	p, waits := w.Person(v.Leg, v.Account())
	if f.Waits = waits; p != nil {
		f.Person, f.JIDs = p.Name, p.JIDs
		f.Usable = w.Usable(v.b.Leg, p.Name)
	}
	_, own, _ := strings.Cut(f.Bot, "@")
	f.Domains = []string{own}
	for _, other := range w.Domains() {
		if !slices.Contains(f.Domains, other) {
			f.Domains = append(f.Domains, other)
		}
	}
	if v.talk.Step == Account || v.talk.Step == Make || v.talk.Step == Client {
		f.Server = w.Server(ctx, v.b.Leg)
	}
	if v.talk.Key != "" {
		f.Key, _ = w.Key(v.talk.JID, v.talk.Method, v.talk.Key)
	}
	return f
}
