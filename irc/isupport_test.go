package irc

import (
	"strings"
	"testing"
)

func TestISupport(t *testing.T) {
	i := newISupport()
	for token := range strings.FieldsSeq(`CASEMAPPING=rfc1459 PREFIX=(Yqaohv)!~&@%+ CHANMODES=IXbegw,k,FHJLWdfjlx,ABCDK STATUSMSG=!~&@%+
		TARGMAX=ACCEPT:,JOIN:,KICK:4,privmsg:20 MAXTARGETS=7 MODES NICKLEN=30 LINELEN=1024 UTF8ONLY SAFERATE WHOX BOT=B MONITOR=
		EXTBAN=,ABC NETWORK=Two\x20Words CLIENTTAGDENY=*,-+x CHANTYPES=# XYZ=1 =`) {
		i.apply(token)
	}
	for _, tt := range []struct {
		what string
		got  any
		want any
	}{
		{"casemapping", i.casemapping, rfc1459},
		{"prefix", i.prefixModes + i.prefixSigns, "Yqaohv!~&@%+"},
		{"lists", i.chanModes[0], "IXbegw"},
		{"JOIN", i.targets("JOIN"), 0},
		{"KICK", i.targets("KICK"), 4},
		{"PRIVMSG", i.targets("PRIVMSG"), 20},
		{"others", i.targets("WHOIS"), 7},
		{"modes without a number", i.modes, 20},
		{"nicklen", i.nickLen, 30},
		{"linelen", i.lineLen, 1024},
		{"network", i.network, "Two Words"},
		{"client tags", i.clientTags, false},
		{"op", i.isOp("@"), true},
		{"half-op is none", i.isOp("%+"), false},
		{"founder is op", i.isOp("~"), true},
		{"a list takes a parameter", i.modeKind('b'), modeList},
		{"a key takes one always", i.modeKind('k'), modeParam},
		{"a limit when set", i.modeKind('l'), modeSet},
		{"flag", i.modeKind('A'), modeFlag},
		{"channel", i.isChannel("#x"), true},
		{"no channel", i.isChannel("&x"), false},
		{"bot", i.bot, "B"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
	i.apply("-PREFIX")
	i.apply("-BOT")
	if i.prefixSigns != "@+" || i.bot != "" {
		t.Errorf("after removal: %q %q", i.prefixSigns, i.bot)
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		m        casemapping
		in, want string
	}{
		{ascii, "#Dev[]\\~Ä", "#dev[]\\~Ä"},
		{rfc1459, "#Dev[]\\~", "#dev{}|^"},
		{rfc1459Strict, "#Dev[]\\~", "#dev{}|~"},
	} {
		if got := tt.m.fold(tt.in); got != tt.want {
			t.Errorf("%d.Fold(%q) = %q, want %q", tt.m, tt.in, got, tt.want)
		}
	}
}

func FuzzISupport(f *testing.F) {
	for _, s := range []string{"PREFIX=(ov)@+", "PREFIX=(ov)@", "PREFIX=", "CHANMODES=a,b", "TARGMAX=:,a:b,c:1", "-PREFIX", "MODES=99999999999", "NETWORK=\\x4", "BOT=\\x20", "CLIENTTAGDENY=*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		st := newState()
		c := &channel{name: "#c", members: map[string]*member{}}
		st.channels["#c"] = c
		for token := range strings.FieldsSeq(line) {
			st.isupport.apply(token)
		}
		if len(st.isupport.prefixModes) != len(st.isupport.prefixSigns) {
			t.Fatalf("prefix modes %q, signs %q", st.isupport.prefixModes, st.isupport.prefixSigns)
		}
		st.names(c, "@+a b!c@d %e")
		st.mode(c, "+ovbklmn-o"+line, []string{"a", "b", "x", "key", "5"})
		st.isupport.isOp("@")
	})
}
