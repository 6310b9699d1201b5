package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var inspircd = ChannelCaps{
	Software: InspIRCd, ListModes: "Ibe", FlagModes: "MRimnpstz", Extban: true, ExtbanTypes: "RUmz", Modes: 20, KickTargets: 20, MaxList: 100, Services: Atheme,
}

func lines(cmds []Command) string {
	var out []string
	for _, c := range cmds {
		out = append(out, c.Line())
	}
	return strings.Join(out, "\n")
}

func ptr(s string) *string { return &s }

// No line is longer than the server takes, with our own source before it.
func TestPlanKeepsLinesShort(t *testing.T) {
	want := Channel{Name: "#c"}
	for i := range 20 {
		want.Lists = append(want.Lists, List{Mode: 'b', Want: []string{fmt.Sprintf("*!*@%s%d.example", strings.Repeat("h", 60), i)}})
		want.Remove = append(want.Remove, Removal{fmt.Sprint(strings.Repeat("n", 28), i), strings.Repeat("why ", 200)})
	}
	seen := ChannelSeen{Present: map[string]string{}}
	for _, r := range want.Remove {
		seen.Present[r.Nick] = ""
	}
	caps := inspircd
	caps.Source = 90
	out, err := PlanChannel(want, seen, caps, 20)
	if err != nil {
		t.Fatal(err)
	}
	bans, gone := 0, 0
	for _, c := range out {
		if n := len(c.Line()); n > maxLine || c.Verb == "MODE" && n+caps.Source > maxLine {
			t.Errorf("%d bytes: %s", n, c.Line())
		}
		bans += strings.Count(c.Line(), "example")
		gone += c.Removes
	}
	if bans != 20 || gone != 20 {
		t.Errorf("%d bans, %d kicks", bans, gone)
	}
}

// A key stands in the line, and nowhere that anybody reads.
func TestPlanHidesKeys(t *testing.T) {
	out, err := PlanChannel(Channel{Name: "#c", Set: "n", Key: ptr("new"), Lists: []List{{Mode: 'b', Want: []string{"*!*@x"}}}}, ChannelSeen{Key: "old"}, inspircd, 0)
	if err != nil || len(out) != 1 {
		t.Fatal(out, err)
	}
	if got, want := out[0].Words(), "MODE #c +n-k+kb *** *** *!*@x"; got != want {
		t.Errorf("shown as %q, want %q", got, want)
	}
	if got, want := out[0].Line(), "MODE #c +n-k+kb old new *!*@x"; got != want {
		t.Errorf("sent as %q, want %q", got, want)
	}
}

func TestPlanChannel(t *testing.T) {
	for _, tt := range []struct {
		name string
		want Channel
		seen ChannelSeen
		caps ChannelCaps
		plan string
	}{
		{"nothing to do", Channel{Set: "nt", Key: ptr("k")}, ChannelSeen{Flags: "tns", Key: "k"}, inspircd, ""},
		{
			"who may come in, before the door is shut",
			Channel{Set: "iR", Lists: []List{{Mode: 'b', Want: []string{"R:eve"}}, {Mode: 'I', Want: []string{"R:bob"}}, {Mode: 'e', Want: []string{"R:bob"}}}},
			ChannelSeen{},
			inspircd, "MODE #c +IeiRb R:bob R:bob R:eve",
		},
		{"who is not let in is sent on", Channel{Set: "i", Params: []Param{{'L', "#new"}, {'l', "1"}}}, ChannelSeen{}, ChannelCaps{SetModes: "Ll"}, "MODE #c +iLl #new 1"},
		{"and where the server cannot, not", Channel{Params: []Param{{'L', "#new"}}}, ChannelSeen{}, ChannelCaps{SetModes: "l"}, ""},
		{"sent on already", Channel{Params: []Param{{'f', "#new"}}}, ChannelSeen{Params: map[byte]string{'f': "#new"}}, ChannelCaps{ParamModes: "f"}, ""},
		{
			"nobody is sent on any more",
			Channel{Params: []Param{{Mode: 'L'}, {Mode: 'f'}, {Mode: 'j'}}},
			ChannelSeen{Params: map[byte]string{'L': "#new", 'f': "#x"}},
			ChannelCaps{ParamModes: "f", SetModes: "Lj"},
			"MODE #c -Lf #x",
		},
		{"a key in place of another: one line", Channel{Key: ptr("new")}, ChannelSeen{Key: "old"}, inspircd, "MODE #c -k+k old new"},
		{"no more than MODES in a line", Channel{Set: "ntsim"}, ChannelSeen{}, ChannelCaps{Modes: 3}, "MODE #c +nts\nMODE #c +im"},
		{
			"ban, then kick, all in few lines",
			Channel{Lists: []List{{Mode: 'b', Want: []string{"*!*@x"}}}, Remove: []Removal{{"a", "go"}, {"b", "go"}, {"gone", "go"}, {"c", "come with TLS"}}},
			ChannelSeen{Present: map[string]string{"a": "", "b": "", "c": ""}},
			inspircd, "MODE #c +b *!*@x\nKICK #c a,b go\nKICK #c c :come with TLS",
		},
		{
			"a server that kicks one by one",
			Channel{Remove: []Removal{{"a", "go"}, {"b", "go"}}},
			ChannelSeen{Present: map[string]string{"a": "", "b": ""}},
			ChannelCaps{},
			"KICK #c a go\nKICK #c b go",
		},
		{
			"an op that came with a netsplit loses it first, and ours gets it last",
			Channel{Set: "n", Status: []Status{{"bob", "o", "v"}, {"eve", "", "o"}}},
			ChannelSeen{Present: map[string]string{"bob": "", "eve": "ov"}},
			inspircd, "MODE #c -o+n eve\nMODE #c +o bob",
		},
		{
			"TLS only, once those without are gone",
			Channel{Set: "z", Remove: []Removal{{"a", "TLS"}}},
			ChannelSeen{PlainText: true, Present: map[string]string{"a": ""}},
			inspircd, "KICK #c a TLS\nMODE #c +z",
		},
		{"TLS only waits for those who may stay", Channel{Set: "zn"}, ChannelSeen{PlainText: true}, inspircd, "MODE #c +n"},
		{"a ban of ours ends, others stay", Channel{Lists: []List{{Mode: 'b', Drop: []string{"R:Bob", "R:nobody"}}}}, ChannelSeen{Lists: map[byte][]string{'b': {"r:bob", "R:eve"}}}, inspircd, "MODE #c -b R:Bob"},
		{"the topic", Channel{Topic: ptr("hello all")}, ChannelSeen{Topic: "pwned"}, inspircd, "TOPIC #c :hello all"},
		{
			"services keep it",
			Channel{MLock: "+nt", TopicLock: true, Access: []Access{{"alice", "oO"}, {"bob", ""}}},
			ChannelSeen{Access: map[string]string{"alice": "ov", "bob": "o"}},
			inspircd,
			"PRIVMSG ChanServ :SET #c MLOCK +nt\nPRIVMSG ChanServ :SET #c TOPICLOCK ON\nPRIVMSG ChanServ :FLAGS #c alice +O-v\nPRIVMSG ChanServ :FLAGS #c bob -o",
		},
		{"a mode that is locked yet waits for the lock", Channel{Clear: "mi", MLock: "+nt"}, ChannelSeen{Flags: "ntmi", MLock: "+ntm"}, inspircd, "MODE #c -i\nPRIVMSG ChanServ :SET #c MLOCK +nt"},
		{"a mode that is locked away waits for the lock", Channel{Set: "nmi", MLock: "+nmi"}, ChannelSeen{MLock: "+n-m"}, inspircd, "MODE #c +ni\nPRIVMSG ChanServ :SET #c MLOCK +nmi"},
		{"a lock of somebody else is tried", Channel{Clear: "m"}, ChannelSeen{Flags: "m", MLock: "+m"}, inspircd, "MODE #c -m"},
		{"an entry message", Channel{EntryMsg: ptr("we have moved")}, ChannelSeen{EntryMsg: ptr("hello")}, inspircd, "PRIVMSG ChanServ :SET #c ENTRYMSG we have moved"},
		{"no entry message any more", Channel{EntryMsg: ptr("")}, ChannelSeen{EntryMsg: ptr("we have moved")}, inspircd, "PRIVMSG ChanServ :SET #c ENTRYMSG OFF"},
		{"an entry message that is there, or over one that is not known", Channel{EntryMsg: ptr("we have moved")}, ChannelSeen{}, inspircd, ""},
		{"a mode lock in another order", Channel{MLock: "+ntR-i"}, ChannelSeen{MLock: "+Rnt-i"}, inspircd, ""},
		{"a mode lock of the other sign", Channel{MLock: "+nt-i"}, ChannelSeen{MLock: "+nti"}, inspircd, "PRIVMSG ChanServ :SET #c MLOCK +nt-i"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Name = "#c"
			got, err := PlanChannel(tt.want, tt.seen, tt.caps, 5)
			if locked := strings.Contains(tt.name, "waits for the lock"); LockHolds(tt.want, tt.seen, tt.caps) != locked {
				t.Error("held by the lock:", !locked)
			}
			if err != nil || lines(got) != tt.plan {
				t.Errorf("%v, plan\n%s\nwant\n%s", err, lines(got), tt.plan)
			}
		})
	}
}

// The doors of each family, in its own letters.
func TestOpen(t *testing.T) {
	d := Doors{InviteOnly: true, Registered: true, RegisteredSpeak: true, TLS: true, Accounts: []string{"bob"}}
	for _, tt := range []struct {
		name string
		caps ChannelCaps
		set  string
		list string
		not  int
	}{
		{"inspircd", inspircd, "iRzM", "e R:bob I R:bob", 0},
		{"libera", ChannelCaps{Software: Solanum, ListModes: "eIbq", FlagModes: "CFLMPQRSTcgimnprstuz", Extban: true, ExtbanPrefix: "$", ExtbanTypes: "ajrxz"}, "irS", "q $~a e $a:bob I $a:bob", 0},
		{"unreal", ChannelCaps{Software: UnrealIRCd, ListModes: "beI", FlagModes: "psmntirRMz", Extban: true, ExtbanPrefix: "~", ExtbanTypes: "acfS", AccountExtban: []string{"account", "a"}}, "iRzM", "e ~account:bob I ~account:bob", 0},
		{"ergo", ChannelCaps{Software: Ergo, ListModes: "Ibe", FlagModes: "CERMimnst", Extban: true, ExtbanTypes: "m"}, "iRM", "", 2},
		{"ngircd", ChannelCaps{Software: NgIRCd, ListModes: "beI", FlagModes: "CiMmnOPQRrstVz"}, "iRzM", "", 1},
		{"rfc 1459", ChannelCaps{}, "i", "", 4},
	} {
		var c Channel
		not := tt.caps.Open(d, &c)
		var list []string
		for _, l := range c.Lists {
			for _, m := range l.Want {
				list = append(list, string(l.Mode), m)
			}
		}
		if c.Set != tt.set || strings.Join(list, " ") != tt.list || len(not) != tt.not {
			t.Errorf("%s: +%s, lists %q, cannot %q", tt.name, c.Set, list, not)
		}
	}
}

func TestPlanChannelRefuses(t *testing.T) {
	want, seen := Channel{Name: "#c"}, ChannelSeen{Present: map[string]string{}}
	for i := range 6 {
		n := fmt.Sprint("n", i)
		want.Remove, seen.Present[n] = append(want.Remove, Removal{n, "go"}), ""
	}
	if got, err := PlanChannel(want, seen, inspircd, 5); !errors.Is(err, ErrTooMany) || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// do applies a plan to a channel as a server does.
func do(t *rapid.T, seen *ChannelSeen, cmds []Command, caps ChannelCaps) {
	for _, c := range cmds {
		if line := c.Line(); len(line)+caps.Source+2 > 512 && c.Verb == "MODE" || len(line) > 510 {
			t.Fatalf("%d bytes: %s", len(line), line)
		}
		switch c.Verb {
		case "KICK":
			nicks := strings.Split(c.Params[1], ",")
			if len(nicks) > caps.KickTargets || len(nicks) != c.Removes {
				t.Fatalf("%d kicks, said to be %d", len(nicks), c.Removes)
			}
			for _, n := range nicks {
				delete(seen.Present, n)
			}
		case "MODE":
			if n := len(strings.NewReplacer("+", "", "-", "").Replace(c.Params[1])); n > caps.Modes {
				t.Fatalf("%d modes: %s", n, c.Line())
			}
			doModes(t, seen, c)
		default:
			t.Fatal(c.Line())
		}
	}
}

func doModes(t *rapid.T, seen *ChannelSeen, c Command) {
	sign, args := byte('+'), c.Params[2:]
	next := func() string {
		if len(args) == 0 {
			t.Fatalf("a parameter misses: %s", c.Line())
		}
		a := args[0]
		args = args[1:]
		return a
	}
	for _, m := range []byte(c.Params[1]) {
		switch m {
		case '+', '-':
			sign = m
		case 'b', 'e', 'I':
			a := next()
			seen.Lists[m] = slices.DeleteFunc(seen.Lists[m], func(s string) bool { return s == a })
			if sign == '+' {
				seen.Lists[m] = append(seen.Lists[m], a)
			}
		case 'o', 'v':
			a := next()
			seen.Present[a] = strings.ReplaceAll(seen.Present[a], string(m), "")
			if sign == '+' {
				seen.Present[a] += string(m)
			}
		case 'k':
			a := next()
			if sign == '-' && a != seen.Key || sign == '+' && seen.Key != "" {
				t.Fatalf("ignored by InspIRCd: %s", c.Line())
			}
			if seen.Key = ""; sign == '+' {
				seen.Key = a
			}
		default:
			seen.Flags = strings.ReplaceAll(seen.Flags, string(m), "")
			if sign == '+' {
				seen.Flags += string(m)
			}
		}
	}
	if len(args) > 0 {
		t.Fatalf("parameters are left: %s", c.Line())
	}
}

// A plan fits the server's limits, and leads there: from there, there is nothing
// to do.
func TestPropertyPlanArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		caps := inspircd
		caps.Modes, caps.KickTargets, caps.Source = rapid.IntRange(2, 20).Draw(t, "modes"), rapid.IntRange(1, 20).Draw(t, "targets"), 80
		nicks := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,30}`), 0, 40, rapid.ID[string]).Draw(t, "nicks")
		masks := rapid.SliceOfNDistinct(rapid.StringMatching(`R:[a-z]{1,60}`), 0, 20, rapid.ID[string]).Draw(t, "masks")
		some := func(list []string, label string) (out []string) {
			for _, s := range list {
				if rapid.Bool().Draw(t, label) {
					out = append(out, s)
				}
			}
			return out
		}
		flags := rapid.StringMatching(`[intsmR]{0,6}`)
		key := rapid.SampledFrom([]string{"", "a", "b"})
		k := key.Draw(t, "want key")
		want := Channel{Name: "#c", Set: flags.Draw(t, "set"), Clear: flags.Draw(t, "clear"), Key: &k}
		seen := ChannelSeen{Flags: uniq(flags.Draw(t, "flags")), Key: key.Draw(t, "key"), Lists: map[byte][]string{}, Present: map[string]string{}}
		for _, mode := range []byte("bIe") {
			add, drop := some(masks, "want"), some(masks, "drop")
			drop = slices.DeleteFunc(drop, func(s string) bool { return slices.Contains(add, s) })
			want.Lists = append(want.Lists, List{mode, add, drop})
			seen.Lists[mode] = some(masks, "seen")
		}
		for _, n := range nicks {
			seen.Present[n] = rapid.SampledFrom([]string{"", "o", "v", "ov"}).Draw(t, "prefix")
			if rapid.Bool().Draw(t, "goes") {
				want.Remove = append(want.Remove, Removal{n, rapid.SampledFrom([]string{"go", strings.Repeat("long ", 80)}).Draw(t, "why")})
			} else {
				want.Status = append(want.Status, Status{n, rapid.SampledFrom([]string{"", "o", "v"}).Draw(t, "give"), rapid.SampledFrom([]string{"", "o"}).Draw(t, "take")})
			}
		}
		before := maps.Clone(seen.Present)
		plan, err := PlanChannel(want, seen, caps, len(want.Remove))
		if err != nil {
			t.Fatal(err)
		}
		do(t, &seen, plan, caps)
		if len(before)-len(seen.Present) != len(want.Remove) {
			t.Fatalf("%d of %d are left, and %d were to go", len(seen.Present), len(before), len(want.Remove))
		}
		if again, _ := PlanChannel(want, seen, caps, 0); len(again) > 0 {
			t.Fatalf("still to do:\n%s", lines(again))
		}
	})
}

func uniq(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(slices.Compact(b))
}
