//go:build e2e

package e2e

import (
	"io"
	"os"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"drawbridge/internal/lab"
)

// sealer is somebody with OpenPGP in this process: gpg would be too slow for a
// load.
type sealer struct {
	h        *house
	own, bot *openpgp.Entity
	signed   string // of the presence
}

func (h *house) sealer(p *person) *sealer {
	h.t.Helper()
	read := func(armored string) *openpgp.Entity {
		keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
		h.must(err)
		return keys[0]
	}
	public, err := os.ReadFile(h.dir + "/bot.pub.asc")
	h.must(err)
	return &sealer{h: h, own: read(p.gpg.ExportSecret(p.fpr)), bot: read(string(public)), signed: p.gpg.SignStatus("here")}
}

// login lets the person be online.
func (s *sealer) login(server *lab.XMPPServer, name string) *lab.XMPPUser {
	u := s.h.XMPPUser(server, name, "load")
	u.Presence("<status>here</status><x xmlns='jabber:x:signed'>" + s.signed + "</x>")
	return u
}

// seal makes the children of a message with text.
func (s *sealer) seal(text string) string {
	var b strings.Builder
	aw, err := armor.Encode(&b, "PGP MESSAGE", nil)
	if err != nil {
		panic(err) // nothing is written but to memory
	}
	w, err := openpgp.Encrypt(aw, []*openpgp.Entity{s.bot}, nil, nil, nil)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, text)
	_, _ = w.Close(), aw.Close()
	_, x, _ := strings.Cut(b.String(), "\n\n")
	x, _, _ = strings.Cut(x, "\n-----END")
	return "<body>" + scriptedBody + "</body><x xmlns='jabber:x:encrypted'>" + x + "</x>"
}

// open decrypts what the bot said in a stanza.
func (s *sealer) open(st string) (string, bool) {
	if !strings.HasPrefix(st, "<message") || !strings.HasPrefix(lab.Attr(st, "from"), botJID) {
		return "", false
	}
	x, ok := sealedPart(st)
	if !ok {
		return "", false
	}
	block, err := armor.Decode(strings.NewReader("-----BEGIN PGP MESSAGE-----\n\n" + strings.TrimSpace(x) + "\n-----END PGP MESSAGE-----\n"))
	if err != nil {
		return "", false
	}
	m, err := openpgp.ReadMessage(block.Body, openpgp.EntityList{s.own, s.bot}, nil, nil)
	if err != nil {
		return "", false
	}
	text, err := io.ReadAll(m.UnverifiedBody)
	return string(text), err == nil
}
