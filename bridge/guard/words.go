package guard

import (
	"drawbridge/policy"
)

// This file says to people what happened to them, and what to do next.

// adviceLocked is whispered to somebody who is there and not heard.
func (sd *side) adviceLocked(d *policy.Decision) string {
	in, advice := sd.place.Name, sd.room.policy.Advice(d)
	switch {
	case d.Reason != "":
		return d.Reason
	case advice != "":
		return "You cannot be heard in " + in + ": " + advice + "."
	case d.Missing == policy.MissingRung:
		return "You cannot be heard in " + in + " until an encrypted chat (OTR or OpenPGP) with the bot stands: begin one from your own account. If one does, please wait a moment."
	case d.Missing != 0 && !sd.channel():
		return "You cannot be heard in " + in + " until it is known who you are (" + d.Missing.String() + "). Please wait a moment, or ask one of its admins."
	case d.Missing&policy.MissingAccount != 0 && sd.down:
		return "You cannot be heard in " + in + " for now: services are away, and it cannot be seen who you are. That ends by itself."
	case d.Missing != 0:
		return "You cannot be heard in " + in + " until it is known who you are (" + d.Missing.String() + "). Please wait a moment, or log in."
	case sd.channel():
		return "You cannot be heard in " + in + " yet. Please log in to your services account (/msg NickServ IDENTIFY), or ask an operator."
	}
	return "You cannot be heard in " + in + " yet. Please ask one of its admins."
}

// reasonLocked is what somebody hears who is removed.
func (sd *side) reasonLocked(d *policy.Decision) string {
	advice := sd.room.policy.Advice(d)
	switch {
	case d.Basis == policy.ByBan:
		return withReason(d.Reason, banned(d)+"; ask an admin about it")
	case d.Reason != "":
		return d.Reason
	case d.Effect == policy.Ban:
		return withReason(advice, banned(d)+"; ask an admin about it")
	case advice != "":
		return advice
	case sd.channel():
		return "this channel is for members: log in to your services account first, then join again, or ask an operator"
	}
	return "this room is for members: ask one of its admins to be let in"
}

// refusal is told to somebody whose line is not relayed.
func (r *room) refusal(d *policy.Decision) string {
	switch advice := r.policy.Advice(d); {
	case d.Basis == policy.ByBan:
		return withReason(d.Reason, "you are "+banned(d)+" from room "+r.name+"; ask an admin about it")
	case d.Reason != "":
		return d.Reason
	case advice != "":
		return "room " + r.name + " did not take that: " + advice
	case d.Missing != 0:
		return "room " + r.name + " has to know first who you are (" + d.Missing.String() + "): log in, or wait a moment"
	}
	return "room " + r.name + " takes lines of its members: ask one of its admins to be let in"
}

// banned says how long a ban lasts.
func banned(d *policy.Decision) string {
	if d.Until.IsZero() {
		return "banned"
	}
	return "banned until " + d.Until.UTC().Format("2006-01-02 15:04") + " UTC"
}

// withReason puts why before what to do.
func withReason(why, next string) string {
	if why == "" {
		return next
	}
	return why + " (" + next + ")"
}
