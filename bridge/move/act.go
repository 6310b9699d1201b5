package move

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/migrate"
	"drawbridge/bridge/wording"
	"drawbridge/policy"
)

// codeTries is how often something else than the code may come back.
const codeTries = 5

// proveTime bounds how long an answer to the test message waits for what the same person
// does on IRC: it holds up what others say in their chats.
const proveTime = time.Second

// askTime bounds what a server is asked in one turn: there has to be time left to keep
// what came of it.
const askTime = 6 * time.Second

// invitations is where it is kept which were given out.
const invitations = "invitations"

// carryOut does what a turn asks for, and returns what to say about it.
func (d *Desk) carryOut(ctx context.Context, v *visit, act Act) ([]Say, error) {
	switch act {
	case Invite:
		return d.invite(ctx, v)
	case AskLink:
		if err := d.keep(ctx, v); err != nil { // the person is asked in the language of now
			return nil, err
		}
		return d.askLink(ctx, v)
	case SendTest:
		return d.sendTest(v)
	case AskIn:
		return d.askIn(ctx, v), nil
	case TellAdmins:
		d.tellAdmins(v, Say{"admin_account", map[string]string{"domain": d.domain(v)}})
	case NoteKey:
		return d.noteKey(v), nil
	}
	return nil, nil
}

// sayKey is what somebody is told whose key cannot be theirs.
func sayKey(s KeyState, jid string) Say {
	return Say{map[KeyState]string{KeyOther: "key_other", KeyOwn: "key_mine", KeyEnded: "key_ended"}[s], map[string]string{"jid": jid}}
}

// noteKey notes which key somebody says is theirs, and has the admins compare it. Whose
// it is instead is not told, and that it is right only to whom it is proven to belong: else
// who claims an address could learn whose it is.
func (d *Desk) noteKey(v *visit) []Say {
	state, person := d.d.World.Key(v.talk.JID, v.talk.Method, v.talk.Key)
	proven, _ := d.d.World.Person(v.Leg, v.Account())
	t := turn{Talk: v.talk, texts: v.b.Texts}
	args := map[string]string{"jid": v.talk.JID, "key": grouped(v.talk.Key), "next": t.first("word_next")}
	switch {
	case state == KeyGood && proven != nil:
		return []Say{{"key_good", args}}
	case state == KeyGood:
	case state != KeyNew:
		v.talk.Key = ""
		return []Say{sayKey(state, v.talk.JID)}
	case person == "":
		d.tellAdmins(v, Say{"admin_person", map[string]string{"jid": v.talk.JID}})
	default:
		kind := "openpgp"
		if v.talk.Method == "otr" {
			kind = "otr"
		}
		d.tellAdmins(v, Say{"admin_key", map[string]string{"jid": v.talk.JID, "person": person, "kind": kind, "key": v.talk.Key}})
	}
	return []Say{{"key_noted", args}}
}

func (d *Desk) domain(v *visit) string {
	bot, _ := d.d.World.Bot(v.b.Leg)
	_, domain, _ := strings.Cut(bot, "@")
	return domain
}

// invite gives an invitation, within the limits. One that is still good is given again.
// Where it cannot be had nobody is sent to in-band registration: servers with invitations
// mostly refuse it without one.
func (d *Desk) invite(ctx context.Context, v *visit) ([]Say, error) {
	if v.talk.Invitation == "" || !v.now.Before(v.talk.Until) {
		p, _ := d.d.World.Person(v.Leg, v.Account())
		g := given{v.id, v.From.Host, v.now, p != nil}
		if why, err := d.give(ctx, g); err != nil {
			return nil, err
		} else if why != "" {
			return []Say{{"make_limit", map[string]string{"why": d.say(v, Say{Key: why})}}}, nil
		}
		within, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		inv, err := d.d.World.Invite(within, v.b.Leg)
		if err != nil {
			d.log.Warn("no invitation", "leg", v.b.Leg, "from", v.id, "err", err)
			if err := d.takeBack(ctx, g); err != nil {
				return nil, err
			}
			domain := map[string]string{"domain": d.domain(v)}
			d.tellAdmins(v, Say{"admin_account", domain})
			return []Say{{"make_failed", domain}}, nil
		}
		if inv.Until.IsZero() {
			inv.Until = v.now.Add(day)
		}
		d.log.Info("invitation given", "leg", v.b.Leg, "from", v.id)
		v.talk.Invitation, v.talk.Until = inv.Link, inv.Until
	}
	t := turn{Talk: v.talk, texts: v.b.Texts}
	return []Say{{"make_link", map[string]string{"link": v.talk.Invitation, "until": clock(v.talk.Until), "no": t.first("word_no")}}}, nil
}

// give notes an invitation before it is given, so that no crash gives more; or says which
// limit stands in its way.
func (d *Desk) give(ctx context.Context, g given) (why string, err error) {
	d.gave.Lock()
	defer d.gave.Unlock()
	kept, _, err := d.d.Store.Talk(ctx, invitations)
	if err != nil {
		return "", err
	}
	all := readLedger(kept.Data, g.At)
	if why := all.why(g); why != "" {
		return why, nil
	}
	return "", d.note(ctx, append(all, g), g.At)
}

// takeBack forgets one that could not be given.
func (d *Desk) takeBack(ctx context.Context, g given) error {
	d.gave.Lock()
	defer d.gave.Unlock()
	kept, _, err := d.d.Store.Talk(ctx, invitations)
	if err != nil {
		return err
	}
	all := slices.DeleteFunc(readLedger(kept.Data, g.At), func(x given) bool {
		return x.Account == g.Account && x.Host == g.Host && x.At.Equal(g.At)
	})
	return d.note(ctx, all, g.At)
}

func (d *Desk) note(ctx context.Context, all ledger, now time.Time) error {
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return d.d.Store.PutTalk(ctx, migrate.Talk{ID: invitations, At: now, Data: data})
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// askLink begins a link. Whether the JID is known does not show; admins hear of one that
// is not.
func (d *Desk) askLink(ctx context.Context, v *visit) ([]Say, error) {
	w := d.d.World
	if !w.Known(v.talk.JID) {
		d.tellAdmins(v, Say{"admin_person", map[string]string{"jid": v.talk.JID}})
	}
	bot, _ := w.Bot(v.b.Leg)
	code, until, err := w.Link(ctx, v.Leg, v.Account(), v.From.Nick, v.talk.JID)
	switch {
	case errors.Is(err, ErrLinksOff):
		d.tellAdmins(v, Say{"admin_person", map[string]string{"jid": v.talk.JID}})
		return []Say{{Key: "link_off"}}, nil
	case errors.Is(err, ErrOften):
		t := turn{Talk: v.talk, texts: v.b.Texts}
		return []Say{{"link_often", map[string]string{"again": t.first("word_again")}}}, nil
	case err != nil:
		return nil, err
	}
	t := turn{Talk: v.talk, texts: v.b.Texts}
	ask := "link_ask"
	if v.talk.Method == "openpgp" {
		ask = "link_sign"
	}
	return []Say{{ask, map[string]string{"bot": bot, "code": code, "until": until.UTC().Format("15:04"), "next": t.first("word_next")}}}, nil
}

// sendTest seals a code to the person.
func (d *Desk) sendTest(v *visit) ([]Say, error) {
	t := turn{Talk: v.talk, texts: v.b.Texts}
	p, _ := d.d.World.Person(v.Leg, v.Account())
	bot, _ := d.d.World.Bot(v.b.Leg)
	code := d.d.Code()
	if p == nil || !d.d.World.Tell(v.b.Leg, p.Name, d.say(v, Say{"chat_test", map[string]string{"code": code}})) {
		return []Say{{"test_no_key", map[string]string{"bot": bot, "next": t.first("word_next")}}}, nil
	}
	sum := sha256.Sum256([]byte(code))
	v.talk.Code, v.talk.Tries, v.talk.Tested = sum[:], 0, ""
	return []Say{{"test_sent", map[string]string{"person": p.Name, "next": t.first("word_next")}}}, nil
}

// askIn invites the person to the rooms, which is the end.
func (d *Desk) askIn(ctx context.Context, v *visit) (out []Say) {
	var asked, failed []string
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if p, _ := d.d.World.Person(v.Leg, v.Account()); p != nil && len(p.JIDs) > 0 {
		for _, room := range v.b.Rooms {
			if err := d.d.World.AskIn(ctx, v.b.Leg, room, p.JIDs[0]); err != nil {
				d.log.Warn("no invitation to a room", "leg", v.b.Leg, "room", room, "to", p.Name, "err", err)
				failed = append(failed, room)
				continue
			}
			asked = append(asked, room)
		}
	} else {
		failed = v.b.Rooms
	}
	if len(asked) > 0 {
		out = append(out, Say{"rooms_sent", map[string]string{"rooms": strings.Join(asked, ", ")}})
	}
	if len(failed) > 0 {
		out = append(out, Say{"rooms_failed", map[string]string{"rooms": strings.Join(failed, ", ")}})
	}
	bot, _ := d.d.World.Bot(v.b.Leg)
	v.talk.Step = Done
	return append(out, Say{"done", map[string]string{"to": v.b.To, "bot": bot}})
}

// tellAdmins tells them that somebody waits, within bounds.
func (d *Desk) tellAdmins(v *visit, what Say) {
	p, _ := d.d.World.Person(v.Leg, v.Account())
	n := notice{v.id, v.From.Host, strings.Join([]string{what.Key, what.Args["jid"], what.Args["key"]}, " "), v.now, p != nil}
	if !d.notices.allow(n) {
		return
	}
	say := func(s Say) string { return v.b.Texts.Say(v.b.Language, s.Key, s.Args) }
	d.d.World.TellAdmins(say(Say{"admin_waits", map[string]string{
		"account": v.Account(), "network": v.Leg, "bridge": v.b.Name, "what": say(what),
	}}))
}

// Prove implements the answer to the test message: "!move CODE" in a person's own
// encrypted chat.
func (d *Desk) Prove(ctx context.Context, c *bridge.Claim) string {
	now := d.d.Now()
	v, err := d.tested(ctx, c.Person)
	if v != nil && err == nil {
		within, cancel := context.WithTimeout(ctx, proveTime)
		defer cancel()
		leave, ok := d.turns.enter(within, v.id)
		if !ok { // they wait for something on IRC
			return d.say(v, Say{Key: "broken"})
		}
		defer leave()
		v, err = d.tested(ctx, c.Person) // as it is now
	}
	words := strings.Fields(c.Text)
	switch {
	case err != nil:
		d.log.Error("a move cannot go on", "from", c.Person, "err", err)
		return d.builtin.Say(wording.English, "broken", nil)
	case v == nil:
		return d.builtin.Say(wording.English, "chat_none", nil)
	case c.Stale || c.Rung < policy.Sealed || c.Leg != v.b.Leg:
		return d.say(v, Say{Key: "chat_proof"})
	}
	t := turn{Talk: v.talk, texts: v.b.Texts}
	t.Language = v.b.language(&v.talk)
	again := Say{"chat_wrong", map[string]string{"again": t.first("word_again")}}
	if len(words) < 2 || len(v.talk.Code) == 0 {
		return d.say(v, again)
	}
	sum := sha256.Sum256([]byte(strings.ToUpper(strings.Join(words[1:], ""))))
	if subtle.ConstantTimeCompare(sum[:], v.talk.Code) != 1 {
		if v.talk.Tries++; v.talk.Tries >= codeTries {
			v.talk.Code = nil
		}
	} else {
		v.talk.Code, v.talk.Tested = nil, c.Person
	}
	v.now = now
	if err := d.keep(ctx, v); err != nil {
		d.log.Error("a move cannot go on", "from", c.Person, "err", err)
		return d.say(v, Say{Key: "broken"})
	}
	if v.talk.Tested != c.Person {
		return d.say(v, again)
	}
	next := map[string]string{"next": t.first("word_next")}
	network, _, _ := strings.Cut(v.id, "/")
	d.d.World.TellNick(network, v.talk.Nick, d.say(v, Say{"test_done", next}))
	return d.say(v, Say{"chat_ok", next})
}

// tested finds the conversation of a person that waits for a test message; nil: there is
// none.
func (d *Desk) tested(ctx context.Context, person string) (*visit, error) {
	all, err := d.d.Store.Talks(ctx)
	if err != nil {
		return nil, err
	}
	for _, kept := range all {
		network, account, ok := strings.Cut(kept.ID, "/")
		if !ok || kept.Step != string(Test) {
			continue
		}
		p, _ := d.d.World.Person(network, account)
		v := &visit{id: kept.ID}
		if p == nil || p.Name != person || json.Unmarshal(kept.Data, &v.talk) != nil {
			continue
		}
		all := *d.bridges.Load()
		if i := slices.IndexFunc(all, func(b Bridge) bool { return b.Name == v.talk.Bridge }); i >= 0 {
			v.b = &all[i]
			return v, nil
		}
	}
	return nil, nil
}
