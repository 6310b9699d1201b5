package xmpp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/form"
	"drawbridge/xmpp/stream"
	"drawbridge/xmpp/xmpptest"
)

// witness remembers what it sees, as lines of transcripts.
type witness struct {
	mu    sync.Mutex // guards all below
	lines []string
	each  func(s *bridge.Sight)
}

func (w *witness) See(s *bridge.Sight) {
	w.mu.Lock()
	w.lines = append(w.lines, sightLine(s))
	each := w.each
	w.mu.Unlock()
	if each != nil {
		each(s)
	}
}

func (w *witness) next() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) == 0 {
		return "nothing"
	}
	l := w.lines[0]
	w.lines = w.lines[1:]
	return l
}

var sightNames = map[bridge.SightKind]string{
	bridge.SightReady: "ready", bridge.SightLost: "lost", bridge.SightHere: "here", bridge.SightCame: "came", bridge.SightChanged: "changed",
	bridge.SightWent: "went", bridge.SightSaid: "said", bridge.SightRights: "rights", bridge.SightMode: "mode", bridge.SightRefused: "refused",
	bridge.SightInvited: "invited", bridge.SightSessions: "sessions",
}

// sightLine is "KIND [WHAT] [was OLD] NICK [self] [JID] [AFFILIATION/ROLE] [id=…] [by …] [: TEXT]".
func sightLine(s *bridge.Sight) string {
	out := []string{sightNames[s.Kind]}
	add := func(ok bool, format string, args ...any) {
		if ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(s.What != "", "%s", s.What)
	add(s.Old != "", "was %s", s.Old)
	add(s.Facts.Nick != "", "%s", s.Facts.Nick)
	add(s.Self && s.Facts.Self, "self")
	add(s.Facts.JID.Known == policy.Yes, "%s", s.Facts.JID.Value)
	add(s.Is != "" || s.Role != "", "%s/%s", s.Is, s.Role)
	add(s.Facts.Occupant.Known == policy.Yes, "id=%s", s.Facts.Occupant.Value)
	add(s.Kind == bridge.SightSaid, "letters=%d capitals=%d names=%d", s.Said.Letters, s.Said.Capitals, s.Said.Highlights)
	add(s.By.Nick != "" || s.By.Server, "by %s", strings.TrimSpace(s.By.Nick+" "+s.By.Facts.JID.Value))
	add(s.By.Facts.Self, "(us)")
	return strings.Join(out, " ") + strings.TrimSuffix(": "+s.Text, ": ")
}

// guardRoom is the room that transcripts guard.
func guardRoom(name string) bridge.Room {
	return bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: name}
}

// task is something that waits for the server.
type task struct {
	done   chan struct{}
	result string
}

func (r *rig) begin(f func(ctx context.Context) string) {
	t := &task{done: make(chan struct{})}
	r.tasks = append(r.tasks, t)
	go func() {
		defer close(t.done)
		t.result = f(context.Background())
	}()
	synctest.Wait()
}

// finished returns the result of the first task, "waits" if it has none yet.
func (r *rig) finished() string {
	if len(r.tasks) == 0 {
		return "nothing"
	}
	select {
	case <-r.tasks[0].done:
		t := r.tasks[0]
		r.tasks = r.tasks[1:]
		return t.result
	default:
		return "waits"
	}
}

// apply reads "ROOM affiliation JID WORD | role NICK WORD REASON… | field VAR VALUE |
// subject WORDS… | invite JID | destroy VENUE REASON…", any number of each.
func (r *rig) apply(text string) {
	room, rest, _ := strings.Cut(text, " ")
	var c bridge.Changes
	step := &policy.MUCStep{}
	for _, part := range strings.Split(rest, " | ") {
		f := append(strings.SplitN(part, " ", 4), "", "", "", "")
		switch f[0] {
		case "affiliation":
			step.Holders = append(step.Holders, policy.Holder{JID: f[1], Is: policy.Affiliation(f[2]), Reason: f[3]})
		case "role":
			step.Visits = append(step.Visits, policy.Visit{Nick: f[1], Role: policy.Role(f[2]), Reason: f[3]})
		case "field":
			step.Fields = append(step.Fields, policy.Field{Var: f[1], Value: f[2]})
		case "subject":
			words := strings.TrimSpace(strings.Join(f[1:], " "))
			step.Subject = &words
		case "invite":
			c.Invite = append(c.Invite, f[1])
		case "destroy":
			c.Destroy = &bridge.Destroy{Venue: f[1], Reason: strings.TrimSpace(f[2] + " " + f[3])}
		default:
			r.t.Fatalf("apply %q", part)
		}
	}
	c.Step = step
	r.begin(func(ctx context.Context) string { return resultLine(r.leg.Apply(ctx, guardRoom(room), c)) })
}

func resultLine(err error) string {
	if err == nil {
		return "ok"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

func (r *rig) observe(room string) {
	r.begin(func(ctx context.Context) string {
		o, err := r.leg.Observe(ctx, guardRoom(room))
		if err != nil {
			return resultLine(err)
		}
		var out []string
		for _, k := range slices.Sorted(maps.Keys(o.MUC.Config)) {
			out = append(out, strings.TrimPrefix(k, "muc#roomconfig_")+"="+strings.ReplaceAll(o.MUC.Config[k], "\n", "+"))
		}
		for _, h := range o.MUC.Affiliations {
			out = append(out, h.JID+"="+string(h.Is))
		}
		for _, p := range o.MUC.Occupants {
			out = append(out, fmt.Sprintf("%s(%s %s/%s)", p.Nick, p.JID, p.Is, p.Role))
		}
		if o.MUC.Subject != nil {
			out = append(out, fmt.Sprintf("subject=%q", *o.MUC.Subject))
		}
		return fmt.Sprintf("holds=%t ejabberd=%t %s", o.Holds, o.MUCCaps.Ejabberd, strings.Join(out, " "))
	})
}

// watchTestRoom has somebody guard the room of withRoom.
func (r *rig) watchTestRoom() *witness {
	w := &witness{}
	r.leg.Watch(w, []bridge.Room{guardRoom(testRoom)})
	return w
}

// TestWatchLater: a room that is joined already is shown when it becomes guarded; one
// that is no more, is not spoken of; and it makes nobody wait who holds what See needs.
func TestWatchLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.push("<presence from='" + testRoom + "/carol'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='member' role='participant' jid='carol@x.org/a'/></x></presence>")
		var mu sync.Mutex // guards seen
		seen := 0
		w := &witness{each: func(*bridge.Sight) { mu.Lock(); defer mu.Unlock(); seen++ }}
		mu.Lock()
		r.leg.Watch(w, []bridge.Room{guardRoom(testRoom), guardRoom("other@x.org")})
		r.leg.Lookup(guardRoom(testRoom), "carol", policy.MissingJID)
		mu.Unlock()
		synctest.Wait()
		want := []string{
			"here bridge self bot@x.org member/participant", "here carol carol@x.org member/participant", "ready",
			"changed carol carol@x.org member/participant", "nothing",
		}
		for _, l := range want {
			if got := w.next(); got != l {
				t.Errorf("%q, not %q", got, l)
			}
		}
		r.leg.Watch(w, nil)
		r.push("<presence type='unavailable' from='" + testRoom + "/carol'/>")
		r.leg.Lookup(guardRoom(testRoom), "bridge", policy.MissingJID)
		r.leg.Watch(w, []bridge.Room{guardRoom(testRoom)})
		synctest.Wait()
		for _, l := range []string{"here bridge self bot@x.org member/participant", "ready", "nothing"} {
			if got := w.next(); got != l {
				t.Errorf("again: %q, not %q", got, l)
			}
		}
	})
}

// TestSightsInOrder: sights come in the order of the wire, though a worker shows some.
func TestSightsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		w := r.watchTestRoom()
		for i := range 200 {
			if err := r.st.Push(fmt.Sprintf("<presence from='%s/n%d'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x></presence>", testRoom, i)); err != nil {
				t.Fatal(err)
			}
			r.leg.Lookup(guardRoom(testRoom), "bridge", policy.MissingJID)
		}
		synctest.Wait()
		came := 0
		for l := w.next(); l != "nothing"; l = w.next() {
			if name, ok := strings.CutPrefix(l, "came "); ok {
				if !strings.HasPrefix(name, fmt.Sprintf("n%d ", came)) {
					t.Fatalf("%q as number %d", l, came)
				}
				came++
			}
		}
		if came != 200 {
			t.Errorf("%d came", came)
		}
	})
}

// TestGuardPanics: a guard that panics costs its sight, and not the stanza.
func TestGuardPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		w := r.watchTestRoom()
		synctest.Wait()
		w.each = func(*bridge.Sight) { panic("a guard") }
		r.push("<message type='groupchat' from='" + testRoom + "/carol' id='x'><body>hello</body></message>")
		if got := r.lines(&r.sink.messages); len(got) != 1 || r.leg.Counts()["panics"] != 1 {
			t.Errorf("%q, %v", got, r.leg.Counts())
		}
	})
}

// TestLinesHaveFacts: what is known of who spoke goes with each line of a guarded room,
// and with what people say to the bot alone, as soon as anybody watches.
func TestLinesHaveFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.sink.keep = true
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.online("alice@x.org/psi")
		groupchat := "<message type='groupchat' from='" + testRoom + "/carol' id='%s'><body>hello</body>%s</message>"
		chat := "<message type='chat' from='alice@x.org/psi' id='0123456789abcde%d'><body>x</body>%s</message>"
		key := ""
		last := func(xml string) *policy.Facts {
			t.Helper()
			n := len(r.sink.kept)
			r.push(xml)
			if len(r.sink.kept) != n+1 {
				t.Fatalf("%s: not relayed", xml)
			}
			key = r.sink.kept[n].Key
			return r.sink.kept[n].Facts
		}
		if f := last(fmt.Sprintf(groupchat, "a", "")); f != nil {
			t.Errorf("nobody watches: %+v", f)
		}
		if f := last(fmt.Sprintf(chat, 0, "")); f != nil {
			t.Errorf("nobody watches: %+v", f)
		}
		w := r.watchTestRoom()
		synctest.Wait()
		r.push("<presence from='" + testRoom + "/carol'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant' jid='carol@y.org/a'/></x></presence>")
		f := last(fmt.Sprintf(groupchat, "b", ""))
		if f == nil || f.JID.Value != "carol@y.org" || f.Since.IsZero() || f.RungKnown != policy.Unknown || f.Affiliation.Value != "none" || f.Role.Value != "participant" || f.Key.Known != policy.Never {
			t.Errorf("live: %+v", f)
		}
		for w.next() != "nothing" {
		}
		f = last(fmt.Sprintf(groupchat, "c", "<delay xmlns='urn:xmpp:delay' stamp='1999-12-31T10:00:00Z'/>"))
		if said := w.next(); f == nil || f.JID.Value != "carol@y.org" || !strings.HasPrefix(said, "said carol") {
			t.Errorf("a line that says it is old: %+v, %s", f, said)
		}
		f = last(fmt.Sprintf(chat, 1, ""))
		if f == nil || f.JID.Value != "alice@x.org" || f.Key.Known != policy.No || f.RungKnown != policy.Yes || f.Rung != policy.Clear || key != "" {
			t.Errorf("a clear chat, by %q: %+v", key, f)
		}
		f = last(fmt.Sprintf(chat, 2, string(element.AppendXML(nil, seal("verified abcdef"), nsClient))))
		if f == nil || f.Key.Known != policy.Yes || f.Key.Value != "ABCDEF" || f.Rung != policy.Verified || key != "ABCDEF" {
			t.Errorf("a verified chat, by %q: %+v", key, f)
		}
		f = last(fmt.Sprintf(chat, 3, string(element.AppendXML(nil, seal("signed abcdef"), nsClient))))
		if f == nil || f.Key.Known != policy.No || f.Rung != policy.Signed || key != "ABCDEF" {
			t.Errorf("a key that nobody verified, %q: %+v", key, f)
		}
	})
}

// TestListsAreWholeOrNothing has a service answer Observe in all the wrong ways.
func TestListsAreWholeOrNothing(t *testing.T) {
	item := "<item affiliation='member' jid='a@x.org'/>"
	many := strings.Repeat("x", 3072+3)
	for _, tt := range []struct{ name, list, says string }{
		{"a list", item, ""},
		{"empty", "", ""},
		{"of other things too", "<set xmlns='http://jabber.org/protocol/rsm'/>" + item, ""},
		{"another list", "<item affiliation='owner' jid='a@x.org'/>", "does not belong"},
		{"of nobody", "<item affiliation='member'/>", "does not belong"},
		{"of what is no JID", "<item affiliation='member' jid='" + many + "'/>", "does not belong"},
		{"twice", item + "<item affiliation='member' jid='A@x.org/r'/>", "changed while"},
		{"an owner among them", "<item affiliation='member' jid='bot@x.org'/>", "changed while"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := observeWith(t, func(q *element.Element) string {
					if q.Child(nsMUCAdmin, "query").Child(nsMUCAdmin, "item").Get("affiliation") == "member" {
						return "<query xmlns='http://jabber.org/protocol/muc#admin'>" + tt.list + "</query>"
					}
					return ""
				})
				if tt.says == "" && strings.HasPrefix(got, "holds=true") || tt.says != "" && strings.Contains(got, tt.says) {
					return
				}
				t.Errorf("%s, not %q", got, tt.says)
			})
		})
	}
	for _, tt := range []struct{ name, form, says string }{
		{"none", "<query xmlns='http://jabber.org/protocol/muc#owner'/>", "there is none"},
		{"submitted", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>", "not to be filled in"},
		{"of another type", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='form'/></query>", "another type"},
		{"nothing at all", "<ping xmlns='urn:xmpp:ping'/>", "there is none"},
	} {
		t.Run("form: "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := observeWith(t, func(q *element.Element) string {
					if q.Child(nsMUCOwner, "query") != nil {
						return tt.form
					}
					return ""
				})
				if !strings.Contains(got, tt.says) {
					t.Errorf("%s, not %q", got, tt.says)
				}
			})
		})
	}
}

// TestListsAreBounded: ten thousand may hold an affiliation, and not one more.
func TestListsAreBounded(t *testing.T) {
	q := element.New(nsMUCAdmin, "query")
	answer := element.New(nsClient, "iq").Add(q)
	for i := range maxHolders + 1 {
		q.Add(element.New(nsMUCAdmin, "item", "affiliation", "member", "jid", fmt.Sprintf("m%d@x.org", i)))
		if i < maxHolders-1 {
			continue
		}
		got, err := appendHolders(nil, answer, policy.Member)
		if i < maxHolders && (err != nil || len(got) != maxHolders || distinct(got) != nil) || i == maxHolders && !errors.Is(err, errList) {
			t.Errorf("%d items: %d, %v", i+1, len(got), err)
		}
	}
}

// observeWith returns what Observe says of a room that answers as given, and where that
// is "" as a room does that only the bot owns.
func observeWith(t *testing.T, answer func(q *element.Element) string) string {
	r := newRig(t, withRoom())
	r.start()
	defer r.stop()
	r.skipStart()
	r.joinRoom()
	r.push("<presence from='" + testRoom + "/bridge'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator'/><status code='110'/></x></presence>")
	for r.st.Sent() != nil {
	}
	r.observe(testRoom)
	for q := r.st.Sent(); q != nil; q = r.st.Sent() {
		x := answer(q)
		if x == "" {
			x = "<query xmlns='http://jabber.org/protocol/muc#admin'/>"
			if q.Child(nsMUCOwner, "query") != nil {
				x = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/muc#roomconfig</value></field></x></query>"
			}
			if q.Child(nsMUCAdmin, "query").Child(nsMUCAdmin, "item").Get("affiliation") == "owner" {
				x = "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='owner' jid='bot@x.org'/></query>"
			}
		}
		r.push("<iq type='result' from='" + testRoom + "' id='" + q.Get("id") + "'>" + x + "</iq>")
	}
	return r.finished()
}

// TestParseForm: a form is whole, or an error.
func TestParseForm(t *testing.T) {
	field := func(name, typ string, values ...string) string {
		s := "<field var='" + name + "' type='" + typ + "'>"
		for _, v := range values {
			s += "<value>" + v + "</value>"
		}
		return s + "</field>"
	}
	for _, tt := range []struct{ name, fields, want string }{
		{"nothing", "", ""},
		{"all types", field("a", "boolean", "true") + field("b", "boolean") + field("c", "text-single") + field("d", "list-multi", "x", "y") + field("e", "fixed", "z") + "<field type='fixed'/>", "a=1 b=0 c= d=x+y"},
		{"foreign elements", "<title>t</title><x xmlns='y'/>" + field("a", "hidden", "b"), "a=b"},
		{"twice", field("a", "boolean") + field("a", "boolean"), "twice"},
		{"many values", field("a", "text-multi", slices.Repeat([]string{"x"}, form.MaxValues+1)...), "too large"},
		{"a long value", field("a", "text-single", strings.Repeat("x", form.MaxBytes+1)), "too large"},
		{"a long name", field(strings.Repeat("x", form.MaxBytes+1), "text-single"), "too large"},
		{"many fields", func() (s string) {
			for i := range form.MaxFields + 1 {
				s += field(fmt.Sprint("f", i), "boolean")
			}
			return s
		}(), "more than 256 fields"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := xmpptest.Parse("<x xmlns='jabber:x:data' type='form'>" + tt.fields + "</x>")
			if err != nil {
				t.Fatal(err)
			}
			f, err := form.Parse(x)
			got := ""
			switch {
			case err != nil && !errors.Is(err, form.Err):
				t.Fatal(err)
			case err != nil:
				got = err.Error()
			default:
				for i := range f.Fields {
					got += " " + f.Fields[i].Name + "=" + strings.ReplaceAll(f.Fields[i].Value(), "\n", "+")
				}
			}
			if strings.TrimSpace(got) != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("%q, not %q", got, tt.want)
			}
		})
	}
}

// TestWhispersAreBounded: of words that the server does not read, 64 wait.
func TestWhispersAreBounded(t *testing.T) {
	q := newOutQueue()
	n := 0
	for range 100 {
		if q.aside(element.New(nsClient, "message")) {
			n++
		}
	}
	if n != maxAsides || len(q.next()) != maxAsides || !q.aside(element.New(nsClient, "message")) {
		t.Errorf("%d wait", n)
	}
}

// TestAnswersTooLong: an answer that cannot be read is an answer, and a bad one.
func TestAnswersTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := ""
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		s := r.leg.session()
		s.ask("get", testRoom, formRequest().query, adminTimeout, func(_ *element.Element, err error) { got = resultLine(err) })
		synctest.Wait()
		var q *element.Element
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			q = e
		}
		for _, from := range []string{"eve@evil.org", testRoom} { // nobody else can spoil it
			r.st.Skip(&stream.TooLargeError{Size: 3 << 20, Max: maxTaken, Head: element.New(nsClient, "iq", "type", "result", "id", q.Get("id"), "from", from)})
			synctest.Wait()
			if (got == "") != (from == "eve@evil.org") {
				t.Errorf("skipped from %s: %q", from, got)
			}
		}
		if !strings.Contains(got, "3145728 bytes skipped") {
			t.Errorf("%q", got)
		}
	})
}

// TestWhoSaidItThen: of a line that comes late, only what a room vouches for tells who
// said it, never what the line says of itself.
func TestWhoSaidItThen(t *testing.T) {
	const (
		mine   = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='A'/>"
		shown  = "<x xmlns='http://jabber.org/protocol/muc#user'><item jid='alice@x.org/psi'/></x>"
		forged = "<x xmlns='http://jabber.org/protocol/muc#user'><item jid='boss@x.org'/></x>"
	)
	for _, tt := range []struct {
		name                      string
		marks, ejabberd, archived bool
		role                      string
		line, who                 string
	}{
		{"an id of a room that gives them", true, false, true, "moderator", mine, "alice@x.org"},
		{"the same in a history", true, false, false, "moderator", mine, "alice@x.org"},
		{"beside a JID that anybody made up", true, false, true, "moderator", forged + mine, "alice@x.org"},
		{"an id that nobody had", true, false, true, "moderator", "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='B'/>" + forged, ""},
		{"an id of a room that gives none", false, true, true, "moderator", mine, ""},
		{"ejabberd's archive", false, true, true, "moderator", shown, "alice@x.org"},
		{"it shows nothing to others than moderators", false, true, true, "participant", forged, ""},
		{"two JIDs", false, true, true, "moderator", shown + forged, ""},
		{"not from the archive, though it says so", false, true, false, "moderator", forged, ""},
		{"another service's archive", false, false, true, "moderator", forged, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _, _ := benchLeg(t, withRoom(), &fakeScheme{})
			l.Watch(&witness{}, []bridge.Room{guardRoom(testRoom)})
			m := l.rooms[testRoom]
			m.nick, m.marksIDs, m.ejabberd = "bridge", tt.marks, tt.ejabberd
			l.present(m, "bridge", mucUser{role: tt.role})
			l.present(m, "alice", mucUser{role: "participant", jid: "alice@x.org", id: "A"})
			m.reset()
			m.nick, m.marksIDs, m.ejabberd = "bridge", tt.marks, tt.ejabberd
			l.present(m, "bridge", mucUser{role: tt.role})
			e, err := xmpptest.Parse("<message from='" + testRoom + "/alice' type='groupchat'><body>x</body>" + tt.line + "</message>")
			if err != nil {
				t.Fatal(err)
			}
			f := l.spoke(m, e, "alice", false, false, tt.archived)
			if f == nil || f.JID.Value != tt.who || (f.JID.Known == policy.Yes) != (tt.who != "") {
				t.Errorf("%+v, not %q", f, tt.who)
			}
		})
	}
}
