package move

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
)

// command carries a line out.
func (d *Desk) command(ctx context.Context, v *visit, here []*Bridge, command bool, word string) (string, error) {
	switch lower, secret := strings.ToLower(word), secretIn(v.Words); {
	case secret != "":
		return d.say(v, Say{Key: secret}), nil
	case lower == "help":
		return d.help(v), nil
	case lower == "status":
		return d.status(v), nil
	case lower == "stop":
		return d.stop(ctx, v)
	case lower == "count":
		return d.say(v, Say{Key: "counted"}), d.d.World.Refuse(ctx, v.Leg, v.Account(), false)
	case v.b.Texts.Has(lower):
		v.talk.Language = lower
		if !v.was {
			return d.begin(ctx, v, here, "")
		}
		return d.goOn(ctx, v, "", []Say{{Key: "language"}})
	case !v.was || lower == "restart" || slices.ContainsFunc(here, func(b *Bridge) bool { return b != v.b && b.called(word) }):
		v.talk = Talk{Language: v.talk.Language}
		return d.begin(ctx, v, here, word)
	case lower == "back":
		t, said, act := Back(v.talk, v.b.Texts, d.facts(ctx, v))
		return d.done(ctx, v, t, said, act)
	case command && slices.Contains(steps, Step(lower)):
		t, said, act := Goto(v.talk, v.b.Texts, Step(lower), d.facts(ctx, v))
		return d.done(ctx, v, t, said, act)
	case word == "", v.b.called(word):
		return d.goOn(ctx, v, "", []Say{{Key: "resumed"}})
	}
	return d.goOn(ctx, v, word, nil)
}

// begin begins a conversation.
func (d *Desk) begin(ctx context.Context, v *visit, here []*Bridge, word string) (string, error) {
	if i := slices.IndexFunc(here, func(b *Bridge) bool { return b.called(word) }); i >= 0 {
		v.b = here[i]
	} else if len(here) > 1 {
		var names []string
		for _, b := range here {
			names = append(names, b.Channels[0].Name)
		}
		return d.say(v, Say{"which_bridge", map[string]string{"list": strings.Join(names, ", ")}}), nil
	}
	if full, err := d.full(ctx, v.now); err != nil || full {
		return d.say(v, Say{Key: "busy"}), err
	}
	v.talk.Bridge, v.talk.Step = v.b.Name, Account
	first := []Say{{"hello", map[string]string{"account": v.Account(), "to": v.b.To}}}
	if v.late {
		first = []Say{{Key: "too_long_ago"}}
	}
	return d.goOn(ctx, v, "", first)
}

// called reports whether word names the bridge or its channel.
func (b *Bridge) called(word string) bool {
	return word != "" && (strings.EqualFold(b.Name, word) || slices.ContainsFunc(b.Channels, func(r bridge.Room) bool { return strings.EqualFold(r.Name, word) }))
}

// full forgets conversations that ended by themselves, and reports whether there are
// too many all the same.
func (d *Desk) full(ctx context.Context, now time.Time) (bool, error) {
	all, err := d.d.Store.Talks(ctx)
	if err != nil || len(all) < MaxTalks {
		return false, err
	}
	left := len(all)
	for _, t := range all {
		if now.Sub(t.At) > Idle {
			if err := d.d.Store.DropTalk(ctx, t.ID); err != nil {
				return true, err
			}
			left--
		}
	}
	return left >= MaxTalks, nil
}

// stop ends the conversation, and has the account not counted.
func (d *Desk) stop(ctx context.Context, v *visit) (string, error) {
	err := errors.Join(d.d.Store.DropTalk(ctx, v.id), d.d.World.Refuse(ctx, v.Leg, v.Account(), true))
	return d.say(v, Say{Key: "stopped"}), err
}

// status says how far somebody is.
func (d *Desk) status(v *visit) string {
	if !v.was {
		return d.say(v, Say{Key: "status_none"})
	}
	or := func(value, key string) string {
		if value == "" {
			return d.say(v, Say{Key: key})
		}
		return value
	}
	t, person := &v.talk, ""
	p, waits := d.d.World.Person(v.Leg, v.Account())
	switch {
	case p != nil:
		person = p.Name
	case waits:
		person = d.say(v, Say{Key: "status_waits"})
	}
	key := grouped(t.Key)
	if key != "" {
		standing := "status_new"
		if state, _ := d.d.World.Key(t.JID, t.Method, t.Key); state == KeyGood && p != nil {
			standing = "status_good"
		}
		key = d.say(v, Say{standing, map[string]string{"key": key}})
	} else if p != nil {
		key = methodNames[d.d.World.Usable(v.b.Leg, p.Name)]
	}
	test := "status_open"
	if t.Tested != "" && t.Tested == person {
		test = "status_ok"
	}
	return d.say(v, Say{"status", map[string]string{
		"bridge": v.b.Name, "step": string(t.Step), "jid": or(t.JID, "status_open"), "client": or(t.Client, "status_open"),
		"key": or(key, "status_open"), "person": or(person, "status_open"), "test": d.say(v, Say{Key: test}),
	}})
}

func (d *Desk) help(v *visit) string {
	return d.say(v, Say{"help", map[string]string{"languages": strings.Join(v.b.Texts.Languages(), ", ")}})
}
