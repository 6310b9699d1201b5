//go:build e2e

package e2e

import (
	"testing"

	"drawbridge/internal/lab"
)

// TestMoveWithoutRegistration: a server that makes no accounts by itself and gives no
// invitations. Nobody is sent to it in vain: the admins hear who needs an account, and it
// goes on once there is one. What should not be said on IRC is answered as such; a nick
// without an account hears how to get one.
func TestMoveWithoutRegistration(t *testing.T) {
	t.Parallel()
	h, ircd := moveHouse(t, "  alice: {jids: [alice@localhost]}", "", []string{"alice"}, "aliceacct")
	prosody := h.Prosody(lab.Prosody{})
	h.vars["xmpp"] = localhost(prosody.Addr)
	prosody.AddUser(botName)
	h.config(movingConfig)
	carl := h.IRCUser(ircd, "carl", channel)
	h.start()
	carl.Expect(":bridge!")
	h.showsRoom(devRoom, "up")

	h.moves(carl, "!move", "services accounts only", "/msg NickServ IDENTIFY")
	h.moves(carl, "IDENTIFY carl hunter2", "Never write a password here")
	al := h.loggedIn(ircd, "al", "aliceacct")
	al.Join(channel)
	h.moves(al, "!move status", "not begun yet")
	h.moves(al, "!move", "Hello aliceacct!", "Step 1, account")
	h.moves(al, "no", "localhost makes no accounts by itself and gives me no invitations", "told the admins")
	h.until("word to the admins", func() bool {
		return h.logged("nobody hears that somebody waits for an admin: admin.people have no encrypted chat", "") == 1
	})
	h.moves(al, "my password shall be hunter2", "Never write a password here")
	h.moves(al, "alice@localhost/phone", "is not a Jabber address")
	h.moves(al, "alice@localhost", "Noted: alice@localhost", "Step 2, client")
	h.moves(al, "back", "Step 1, account")
	h.moves(al, "!move status", "you are at account", "Address: alice@localhost", "Linked to: not yet")
	h.moves(al, "!move client", "Step 2, client")
	h.moves(al, "WhatsApp", "I did not understand", "Step 2, client")
	h.moves(al, "9", "Step 3, key", "1 OTR")
	h.moves(al, "otr", "/otrpolicy bridge@localhost always")
	h.moves(al, "openpgp", "/pgp force bridge@localhost")
	h.moves(al, h.botKey, "That is my own key")
}
