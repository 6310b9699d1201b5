package bridge

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"drawbridge/policy"
)

// peopleMarks knows the names of the configured people by their skeletons.
type peopleMarks map[string][]string // skeleton → names of people

// newPeopleMarks gathers each person's name, the local parts of their JIDs and
// their IRC accounts.
func newPeopleMarks(people []policy.Person) peopleMarks {
	p := peopleMarks{}
	for _, who := range people {
		p.add(who.Name, who.Name)
		for _, jid := range who.JIDs {
			local, _, _ := strings.Cut(jid, "@")
			p.add(local, who.Name)
		}
		for _, irc := range who.IRC {
			for _, account := range irc.Accounts {
				p.add(account, who.Name)
			}
		}
	}
	return p
}

func (p peopleMarks) add(name, person string) {
	if s := skeleton(name); s != "" {
		p[s] = append(p[s], person)
	}
}

// imitates reports whether name looks like that of a configured person other
// than the one its bearer is proven to be ("" for nobody).
func (p peopleMarks) imitates(name, proven string) bool {
	owners := p[skeleton(name)]
	if len(owners) == 0 {
		return false
	}
	for _, o := range owners {
		if o == proven && proven != "" {
			return false
		}
	}
	return true
}

// skeleton maps names that look alike to one string, after UTS #39 §4: NFKD
// without marks and invisible characters, look-alikes of Latin letters folded,
// case folded. The table holds the letters that nicks are forged with (Cyrillic,
// Greek, Armenian and Latin extensions), not the whole of confusables.txt, which
// would cost 300 KiB for scripts that no Latin name is taken for. It is broader
// than UTS #39 in that i, l, 1 and | are one, and that the signs IRC users append
// to a taken nick ("alice_", "alice`") do not count.
func skeleton(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		if unicode.Is(unicode.M, r) || invisible(r) || unicode.IsSpace(r) {
			continue
		}
		if to, ok := lookAlikes[r]; ok {
			b.WriteString(to)
			continue
		}
		r = unicode.ToLower(r)
		if to, ok := lookAlikes[r]; ok {
			b.WriteString(to)
			continue
		}
		b.WriteRune(r)
	}
	return strings.NewReplacer("rn", "m", "vv", "w").Replace(b.String())
}

// lookAlikes maps signs to what they are taken for; "" does not count.
var lookAlikes = map[rune]string{
	'_': "", '-': "", '^': "", '`': "", '\'': "", '.': "", '~': "", '’': "", '´': "", '[': "", ']': "", '{': "", '}': "", '\\': "",
	'0': "o", '1': "l", 'i': "l", 'I': "l", '|': "l", '!': "l", 'ı': "l", 'ɩ': "l", 'ɪ': "l", '¡': "l",
	'ɑ': "a", 'ƅ': "b", 'ø': "o", 'đ': "d", 'ł': "l", 'ħ': "h", 'ŧ': "t", 'ɡ': "g", 'ʏ': "y", 'ɴ': "n", 'ʀ': "r", 'ꜱ': "s", 'ᴀ': "a", 'ᴄ': "c", 'ᴅ': "d", 'ᴇ': "e", 'ᴊ': "j", 'ᴋ': "k", 'ᴍ': "m", 'ᴏ': "o", 'ᴘ': "p", 'ᴛ': "t", 'ᴜ': "u", 'ᴠ': "v", 'ᴡ': "w", 'ᴢ': "z",
	// Cyrillic
	'а': "a", 'в': "b", 'В': "b", 'с': "c", 'ԁ': "d", 'е': "e", 'ҽ': "e", 'ԍ': "g", 'һ': "h", 'н': "h", 'Н': "h", 'і': "l", 'І': "l", 'ї': "l", 'ј': "j", 'к': "k", 'ӏ': "l", 'Ӏ': "l", 'м': "m", 'п': "n", 'о': "o", 'р': "p", 'ԛ': "q", 'г': "r", 'ѕ': "s", 'т': "t", 'ѵ': "v", 'ԝ': "w", 'х': "x", 'у': "y", 'ү': "y", 'з': "3", 'ь': "b", 'є': "e",
	// Greek
	'α': "a", 'Α': "a", 'β': "b", 'ϲ': "c", 'ε': "e", 'Ε': "e", 'Η': "h", 'η': "n", 'ι': "l", 'Ι': "l", 'ϳ': "j", 'κ': "k", 'Μ': "m", 'μ': "u", 'Ν': "n", 'ν': "v", 'ο': "o", 'σ': "o", 'ρ': "p", 'Ρ': "p", 'τ': "t", 'Τ': "t", 'υ': "u", 'Υ': "y", 'χ': "x", 'γ': "y", 'Ζ': "z", 'ω': "w",
	// Armenian
	'ա': "w", 'ց': "g", 'հ': "h", 'ո': "n", 'օ': "o", 'ս': "u", 'զ': "q", 'յ': "j", 'Ս': "u", 'Օ': "o",
}
