package move

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"drawbridge/bridge/wording"
)

// Next is one turn: somebody whose conversation is at t said word; "" asks for the step
// again. It returns what comes of that, what to say, and what to do.
func Next(t Talk, texts *wording.Texts, word string, f *Facts) (Talk, []Say, Act) {
	turn := turn{Talk: t, texts: texts, f: f}
	switch t.Step {
	case Account, Make:
		turn.account(word)
	case Client:
		turn.client(word)
	case Key:
		turn.key(word)
	case Link:
		turn.link(word)
	case Test:
		turn.test(word)
	case Rooms:
		turn.to(Rooms)
	default:
		turn.to(Done)
	}
	return turn.Talk, turn.said, turn.act
}

// Back is !move back: one step back, which is asked for again.
func Back(t Talk, texts *wording.Texts, f *Facts) (Talk, []Say, Act) {
	turn := turn{Talk: t, texts: texts, f: f}
	step := t.Step.before()
	if step == Link && f.Person != "" {
		step = Key // there is nothing to do at the link
	}
	turn.to(step)
	return turn.Talk, turn.said, turn.act
}

// Goto is !move with the name of a step: that step is asked for, or the first before it
// without which it cannot be.
func Goto(t Talk, texts *wording.Texts, step Step, f *Facts) (Talk, []Say, Act) {
	turn := turn{Talk: t, texts: texts, f: f}
	switch {
	case t.JID == "" && slices.Index(steps, step) > slices.Index(steps, Make):
		step = Account
	case f.Person == "" && slices.Index(steps, step) > slices.Index(steps, Link):
		step = Link
	case !turn.tested() && slices.Index(steps, step) > slices.Index(steps, Test):
		step = Test
	}
	turn.to(step)
	return turn.Talk, turn.said, turn.act
}

// turn is one turn under way.
type turn struct {
	Talk
	texts *wording.Texts
	f     *Facts
	said  []Say
	act   Act
}

func (t *turn) say(key string, args ...string) {
	s := Say{Key: key, Args: map[string]string{}}
	for i := 0; i+1 < len(args); i += 2 {
		s.Args[args[i]] = args[i+1]
	}
	t.said = append(t.said, s)
}

// is reports whether word means key: word_next, word_yes …
func (t *turn) is(key, word string) bool { return word != "" && t.texts.Means(t.Language, key, word) }

// to goes to a step, and asks for it.
func (t *turn) to(s Step) {
	t.Step = s
	switch s {
	case Account:
		t.askAccount()
	case Make:
		t.askMake()
	case Client:
		t.say("client_ask", "list", clientNames())
	case Key:
		t.askKey()
	case Link:
		t.askLink()
	case Test:
		t.askTest()
	case Rooms:
		if len(t.f.Rooms) == 0 {
			t.say("rooms_none", "bot", t.f.Bot)
			t.to(Done)
			return
		}
		t.act = AskIn
	case Done:
		t.say("done", "to", t.f.To, "bot", t.f.Bot)
	}
}

func (t *turn) askAccount() {
	if t.f.Person != "" && len(t.f.JIDs) > 0 {
		t.say("account_known", "person", t.f.Person, "jid", t.f.JIDs[0])
		return
	}
	t.say("account_ask", "domain", t.f.Domains[0])
}

// askMake tells how to come by an account.
func (t *turn) askMake() {
	switch {
	case t.f.Invites:
		t.act = Invite
	case t.f.InBand:
		t.say("make_inband", "domain", t.f.Domains[0], "no", t.first("word_no"))
	case t.f.Page != "":
		t.say("make_page", "domain", t.f.Domains[0], "page", t.f.Page, "no", t.first("word_no"))
	default:
		t.say("make_none", "domain", t.f.Domains[0])
		t.act = TellAdmins
	}
}

// account hears which account somebody has.
func (t *turn) account(word string) {
	switch {
	case word == "":
		t.to(t.Step)
	case strings.Contains(word, "@"):
		t.address(word)
	case t.Step == Account && t.f.Person != "" && (t.is("word_yes", word) || word == "1"):
		t.JID, t.Key = t.f.JIDs[0], ""
		t.to(Client)
	case t.Step == Make && t.is("word_no", word):
		t.say("make_refused", "domain", t.f.Domains[0])
		t.act = TellAdmins
	case word == "2" || t.is("word_new", word) || t.f.Person == "" && t.is("word_no", word):
		t.to(Make)
	case word == "1" || t.is("word_yes", word):
		t.say("account_type")
	case t.Step == Make:
		t.say("not_understood", "word", clip(word, 40))
		t.say("account_type")
	default:
		t.say("not_understood", "word", clip(word, 40))
		t.to(Account)
	}
}

// address takes a JID.
func (t *turn) address(word string) {
	jid := strings.ToLower(strings.TrimPrefix(strings.Trim(word, "<>.,;"), "xmpp:"))
	user, domain, _ := strings.Cut(jid, "@")
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+~=!$%*?", r)
	}
	switch {
	case user == "" || domain == "" || len(jid) > 200 || strings.ContainsFunc(user, odd) || strings.ContainsFunc(domain, func(r rune) bool { return odd(r) || r == '_' }):
		t.say("jid_bad", "word", clip(word, 60))
	case t.f.Person != "" && !slices.Contains(t.f.JIDs, jid):
		t.say("jid_other", "jid", jid, "person", t.f.Person, "known", strings.Join(t.f.JIDs, ", "))
	case t.f.Person == "" && !slices.Contains(t.f.Domains, domain):
		t.say("jid_foreign", "domain", domain, "known", t.f.Domains[0])
	default:
		if t.JID != jid {
			t.JID, t.Key = jid, ""
		}
		t.say("jid_noted", "jid", jid)
		t.to(Client)
	}
}

// client hears which client somebody has.
func (t *turn) client(word string) {
	c := findClient(word)
	switch {
	case word == "":
		t.to(Client)
	case c == nil:
		t.say("not_understood", "word", clip(word, 40))
		t.to(Client)
	default:
		speaks := c.speaks(t.f.Schemes)
		if len(speaks) == 0 {
			t.say("client_no", "client", c.name, "methods", names(t.f.Schemes))
			t.to(Client)
			return
		}
		if t.Client = c.name; len(speaks) == 1 {
			t.by(speaks[0])
		} else {
			t.by("")
		}
		t.to(Key)
	}
}

// by sets the scheme of the client. A key of another kind is theirs no more.
func (t *turn) by(method string) {
	if method != t.Method && (method == "otr" || t.Method == "otr") {
		t.Key = ""
	}
	t.Method = method
}

func names(schemes []string) string {
	var out []string
	for _, s := range schemes {
		out = append(out, methodNames[s])
	}
	return strings.Join(out, ", ")
}

// askKey tells what to do in the client, or asks which way.
func (t *turn) askKey() {
	c := findClient(t.Client)
	if c == nil {
		t.to(Client)
		return
	}
	speaks := c.speaks(t.f.Schemes)
	if !slices.Contains(speaks, t.Method) {
		var list []string
		for i, m := range speaks {
			list = append(list, strconv.Itoa(i+1)+" "+methodNames[m])
		}
		t.say("key_ask", "client", c.name, "list", strings.Join(list, ", "))
		return
	}
	t.say("key_"+t.Method, "jid", t.JID, "bot", t.f.Bot)
	t.say("client_"+c.key+"_"+t.Method, "jid", t.JID, "bot", t.f.Bot)
	t.say("key_compare", "keys", t.f.Own, "next", t.first("word_next"))
}

// first is the first word of a key.
func (t *turn) first(key string) string {
	word, _, _ := strings.Cut(t.texts.Say(t.Language, key, nil), ",")
	return strings.TrimSpace(word)
}

// key hears which way, or that the key is there.
func (t *turn) key(word string) {
	c := findClient(t.Client)
	if word == "" || c == nil {
		t.to(Key)
		return
	}
	speaks := c.speaks(t.f.Schemes)
	chosen := slices.Contains(speaks, t.Method)
	if chosen && t.is("word_next", word) {
		t.to(Link)
		return
	}
	if chosen && t.named(word) {
		return
	}
	if isFingerprint(word) { // of which kind?
		t.to(Key)
		return
	}
	if n, err := strconv.Atoi(word); err == nil && n >= 1 && n <= len(speaks) && len(speaks) > 1 {
		t.by(speaks[n-1])
	} else if slices.Contains(speaks, strings.ToLower(word)) {
		t.by(strings.ToLower(word))
	} else if t.say("not_understood", "word", clip(word, 40)); chosen {
		t.say("key_compare", "keys", t.f.Own, "next", t.first("word_next"))
		return
	}
	t.to(Key)
}

// named hears a fingerprint; false: word is none.
func (t *turn) named(word string) bool {
	switch {
	case isFingerprint(word):
		t.Key, t.act = word, NoteKey
	case len(word) >= 8 && isHex(strings.TrimPrefix(strings.ToLower(word), "0x")):
		t.say("key_short")
	default:
		return false
	}
	return true
}

// askLink makes the account and the person one.
func (t *turn) askLink() {
	switch {
	case t.f.Person != "":
		t.say("link_done", "account", t.f.Account, "person", t.f.Person)
		t.to(Test)
	case t.f.Waits:
		t.say("link_waits", "next", t.first("word_next"))
	default:
		t.act = AskLink
	}
}

// link hears that the code was sent.
func (t *turn) link(word string) {
	if word == "" || t.f.Person != "" || t.f.Waits || t.is("word_again", word) {
		t.to(Link)
		return
	}
	if !t.is("word_next", word) {
		t.say("not_understood", "word", clip(word, 40))
	}
	t.say("link_not_yet", "bot", t.f.Bot, "again", t.first("word_again"))
}

// tested reports whether the test message came back from who the account is proven to be.
func (t *turn) tested() bool { return t.Tested != "" && t.Tested == t.f.Person }

// askTest seals something to the person.
func (t *turn) askTest() {
	switch {
	case t.f.Person == "":
		t.to(Link) // it was undone
	case t.tested():
		t.say("test_done", "next", t.first("word_next"))
	case t.f.Usable == "":
		t.unusable()
	default:
		t.act = SendTest
	}
}

// unusable says why nothing can be sealed to the person.
func (t *turn) unusable() {
	next := t.first("word_next")
	switch {
	case t.Key == "":
		t.say("test_no_key", "bot", t.f.Bot, "next", next)
	case t.f.Key == KeyGood:
		t.say("test_offline", "bot", t.f.Bot, "next", next)
	case t.f.Key == KeyNew:
		t.say("test_key_waits", "key", grouped(t.Key), "next", next)
	default:
		t.said = append(t.said, sayKey(t.f.Key, t.JID))
		t.Step, t.Key = Key, ""
	}
}

// test hears that the message came.
func (t *turn) test(word string) {
	switch {
	case t.tested() && t.is("word_next", word):
		t.to(Rooms)
	case word == "", t.tested(), t.f.Usable == "", t.f.Person == "", t.is("word_again", word), len(t.Code) == 0:
		t.to(Test)
	default:
		if !t.is("word_next", word) {
			t.say("not_understood", "word", clip(word, 40))
		}
		t.say("test_not_yet", "bot", t.f.Bot, "again", t.first("word_again"))
	}
}
