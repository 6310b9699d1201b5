package proof

import (
	"crypto/subtle"
	"strings"
	"time"
)

// Sentence is what a person signs to answer a ticket: all of what is asked, of whom,
// and for how long, so that a signature made for one thing serves for no other.
func Sentence(t *Ticket, code string) string {
	var b strings.Builder
	switch {
	case t.Kind == Link:
		b.WriteString("I want the IRC account " + t.Account + " on " + t.Network + " to act as " + t.Person + " for " + t.Bot)
	case t.Nick == "":
		b.WriteString("I ask " + t.Bot + " to let " + t.JID + " into " + t.Target)
	default:
		b.WriteString("I ask " + t.Bot + " to invite the nick " + t.Nick + " (" + accountWords(t.Account) + ") to " + t.Target + " on " + t.Network)
	}
	b.WriteString(": nonce " + code + ", good once, until " + t.Until.UTC().Format(time.DateTime) + " UTC.")
	return b.String()
}

func accountWords(account string) string {
	if account == "" {
		return "without an account"
	}
	return "account " + account
}

// CodeIn finds the nonce in a text that may be a Sentence; "": there is none.
func CodeIn(text string) string {
	words := strings.Fields(text)
	for i := 1; i < len(words); i++ {
		if word := strings.TrimSuffix(words[i], ","); words[i-1] == "nonce" && IsCode(word) {
			return word
		}
	}
	return ""
}

// Says reports whether a signed text is the whole Sentence of a ticket and nothing
// else. Lines may be broken where there are blanks: terminals do.
func Says(t *Ticket, code, text string) bool {
	want, got := strings.Fields(Sentence(t, code)), strings.Fields(text)
	return subtle.ConstantTimeCompare([]byte(strings.Join(want, " ")), []byte(strings.Join(got, " "))) == 1
}

// IsSigned reports whether a text holds a clear-signed one (RFC 4880 §7). Who signed it,
// and whether that holds, is not looked at.
func IsSigned(text string) bool { return strings.Contains(text, "-----BEGIN PGP SIGNED MESSAGE-----") }
