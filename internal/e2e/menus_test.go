//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drawbridge/bridge/wording"
)

const (
	mo    = "/usr/share/locale/de/LC_MESSAGES/"
	gajim = "/usr/lib/python3/dist-packages/gajim/"
)

// TestMenusAreThoseOfThePrograms: what !move tells people to look for is in the files of
// the programs, in German in their own translation.
func TestMenusAreThoseOfThePrograms(t *testing.T) {
	for _, tt := range []struct {
		key, lang string
		files     []string
		names     []string
	}{
		{"client_pidgin_otr", "english", []string{mo + "pidgin.mo", mo + "pidgin-otr.mo"}, []string{
			"Tools", "Plugins", "Configure Plugin", "Generate", "Enable private messaging", "Automatically initiate private messaging", "Require private messaging",
			"Don't log OTR conversations", "Authenticate buddy", "Preferences", "Logging", "Log all instant messages", "Log all chats",
		}},
		{"client_pidgin_otr", "deutsch", []string{mo + "pidgin.mo", mo + "pidgin-otr.mo"}, []string{
			"Extras", "Plugins", "Plugin konfigurieren", "Generieren", "Privaten Nachrichtenversand aktivieren", "automatisch aktivieren", "erzwingen",
			"OTR-Unterhaltungen nicht mitschneiden", "Buddy authentifizieren", "Einstellungen", "Mitschnitt", "Alle Sofortnachrichten mitschneiden", "Alle Chats mitschneiden",
		}},
		{"make_inband", "english", []string{mo + "pidgin.mo"}, []string{"Manage Accounts", "Add…", "Create this new account on the server"}},
		{"make_inband", "deutsch", []string{mo + "pidgin.mo"}, []string{"Konten verwalten", "Hinzufügen…", "Dieses neue Konto auf dem Server anlegen"}},
		{"client_profanity_otr", "english", []string{"/usr/bin/profanity"}, []string{"/otr gen", "/otr policy", "/otr start", "/logging chat", "/history", "/otr log off", "/save"}},
		{"client_profanity_ox", "english", []string{"/usr/bin/profanity"}, []string{"/ox announce", "/ox discover", "/ox request", "/ox start", "/ox log off"}},
		{"client_profanity_openpgp", "english", []string{"/usr/bin/profanity"}, []string{"/pgp keys", "pgpkeyid", "/reconnect", "/pgp start", "/pgp log off"}},
		{"client_psi_openpgp", "english", []string{"/usr/bin/psi"}, []string{"Account Setup", "Modify", "Details", "OpenPGP", "Select Key", "Options", "Advanced", "Log message history"}},
		{"client_gajim_ox", "english", []string{gajim + "data/locale/de/LC_MESSAGES/gajim.mo"}, []string{"Gajim", "Plugins", "Accounts", "Modify Account…", "Privacy", "Keep Chat History", "Until Gajim is Closed"}},
		{"client_gajim_ox", "deutsch", []string{gajim + "data/locale/de/LC_MESSAGES/gajim.mo"}, []string{"Gajim", "Plugins", "Konten", "Konto verwalten…", "Privatsphäre", "Nachrichtenverlauf behalten", "Bis Gajim beendet wird"}},
		{"client_dino_openpgp", "english", []string{mo + "dino.mo"}, []string{"Accounts", "Unencrypted"}},
		{"client_dino_openpgp", "deutsch", []string{mo + "dino.mo"}, []string{"Konten", "Unverschlüsselt"}},
	} {
		t.Run(tt.key+" "+tt.lang, func(t *testing.T) {
			var program string
			for _, f := range tt.files {
				b, err := os.ReadFile(f)
				if os.IsNotExist(err) {
					t.Skipf("%s is not installed", filepath.Base(f))
				} else if err != nil {
					t.Fatal(err)
				}
				program += unmarked.Replace(string(b))
			}
			text := wording.Builtin().Say(tt.lang, tt.key, nil)
			for _, name := range tt.names {
				if !strings.Contains(text, name) {
					t.Errorf("%q is not told", name)
				}
				if !strings.Contains(program, name) {
					t.Errorf("%q is not in the program", name)
				}
			}
		})
	}
}

// unmarked removes what marks the letter of a menu that a key chooses.
var unmarked = strings.NewReplacer("_", "", "&", "", "...", "…")
