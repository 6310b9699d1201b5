package bridge

import (
	"fmt"
	"time"
)

// toldKey is something told to a room, at most once in tellEvery.
type toldKey struct {
	room Room
	what verdict
}

// tell reports whether it is time to tell k, and notes that it is told.
func (d *dispatcher) tell(k toldKey, now time.Time) bool {
	if at, ok := d.told[k]; ok && now.Sub(at) < tellEvery {
		return false
	}
	d.told[k] = now
	return true
}

// howTo says, for each client that tells its name, how encryption is switched
// on for good. %s is the scheme it is about.
var howTo = map[string]string{
	"psi":       "In Psi: open this chat, click the lock so that it closes, and switch on Options > Application > PGP > \"Automatically enable\" so that it stays closed.",
	"gajim":     "In Gajim: choose OpenPGP in the lock menu beside the text field, and assign the bot's key under the contact's menu; Gajim remembers both.",
	"dino":      "In Dino: click the lock beside the text field and choose OpenPGP; Dino remembers it for this chat.",
	"profanity": "In profanity: /pgp setkey with the bot's address and key once, then /pgp start in every new window of the bot (OTR: /otr policy always).",
	"mcabber":   "In mcabber: /pgp force and /pgp setkey with the bot's key for this contact (OTR: /otrpolicy always for it), then /save your settings in mcabberrc.",
	"pidgin":    "In Pidgin: open the OTR menu of this conversation, and set \"Require private messaging\" for this buddy.",
}

const howToAny = "Please switch encryption on for this contact in your client, and make it stay on."

// tellRefused tells a configured person, sealed, once an hour, why their message
// went nowhere. Who has no usable key hears nothing: nothing in clear ever goes
// to a person of an encrypted bridge.
func (d *dispatcher) tellRefused(t *table, in *intent, now time.Time) {
	m := in.msg
	if m.Room.Kind != Chat || m.From.Person != m.Room.Name || m.Delayed && now.Sub(m.Time) > tellEvery {
		return
	}
	if !d.tell(toldKey{room: m.Room, what: in.what}, now) {
		return
	}
	to := in.routes[0]
	d.c.say(to, refusalText(m, to))
}

// tellWithheld tells a configured person in their own chat, sealed, once an hour, what
// the guard said of their message. In a channel or MUC the guard itself tells them.
func (d *dispatcher) tellWithheld(in *intent, now time.Time) {
	m := in.msg
	if in.ruling.Reason == "" || m.Room.Kind != Chat || m.Delayed && now.Sub(m.Time) > tellEvery || !d.tell(toldKey{room: m.Room, what: withheld}, now) {
		return
	}
	text := "Your last message was not passed on"
	if in.what != withheld {
		text += " everywhere"
	}
	d.c.say(in.routes[0], text+": "+clip(in.ruling.Reason, 300))
}

func refusalText(m *Message, to *member) string {
	if m.Kind == Unreadable {
		why := "it could not be opened"
		if m.Problem != nil {
			why = clip(m.Problem.Error(), 200)
		}
		return fmt.Sprintf("Your last message could not be read and was not passed on: %s. Please check which key your client uses for this contact, and say it again.", why)
	}
	if m.Scheme != "" && !to.takes(m.Scheme) {
		return fmt.Sprintf("Your last message was not passed on: it came by %s, and bridge %q takes only %s.",
			m.Scheme, to.bridge.cfg.Name, listed(to.bridge.cfg.Schemes, 8))
	}
	if m.Scheme != "" {
		return fmt.Sprintf("Your last message was not passed on: it came %s (%s), and bridge %q asks for %s. It needs a signature inside the encryption, or a scheme that proves who wrote it.",
			m.Rung, m.Scheme, to.bridge.cfg.Name, to.floor.In)
	}
	how, ok := howTo[m.From.Client]
	if !ok {
		how = howToAny
	}
	return fmt.Sprintf("Your last message came unencrypted and was not passed on: bridge %q takes only encrypted ones. %s", to.bridge.cfg.Name, how)
}

// tellLooped says that a line was taken for another bridge's copy, so that a
// person who only quoted one is not left wondering.
func (d *dispatcher) tellLooped(in *intent, now time.Time) {
	m := in.msg
	if !d.tell(toldKey{room: m.Room, what: looped}, now) {
		return
	}
	to := in.routes[0]
	name := to.bridge.names.show(m.From)
	d.c.log.Warn("another bridge seems to be in the room", "leg", m.Room.Leg, "room", m.Room.Name, "from", name)
	d.c.say(to, fmt.Sprintf("A line of %s was not passed on: it is the same as one this bridge said within the last minute, as a second bridge in this room would repeat it. If you quoted it, add a word.", name))
}
