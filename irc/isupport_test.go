package irc

import (
	"strings"
	"testing"
)

func TestISupport(t *testing.T) {
	i := NewISupport()
	for token := range strings.FieldsSeq(`CASEMAPPING=rfc1459 PREFIX=(Yqaohv)!~&@%+ CHANMODES=IXbegw,k,FHJLWdfjlx,ABCDK STATUSMSG=!~&@%+
		TARGMAX=ACCEPT:,JOIN:,KICK:4,privmsg:20 MAXTARGETS=7 MODES NICKLEN=30 LINELEN=1024 UTF8ONLY SAFERATE WHOX BOT=B MONITOR=
		EXTBAN=,ABC NETWORK=Two\x20Words CLIENTTAGDENY=*,-+x CHANTYPES=# XYZ=1 =`) {
		i.Apply(token)
	}
	for _, tt := range []struct {
		what string
		got  any
		want any
	}{
		{"casemapping", i.Casemapping, RFC1459},
		{"prefix", i.PrefixModes + i.PrefixSigns, "Yqaohv!~&@%+"},
		{"lists", i.ChanModes[0], "IXbegw"},
		{"JOIN", i.Targets("JOIN"), 0},
		{"KICK", i.Targets("KICK"), 4},
		{"PRIVMSG", i.Targets("PRIVMSG"), 20},
		{"others", i.Targets("WHOIS"), 7},
		{"modes without a number", i.Modes, 20},
		{"nicklen", i.NickLen, 30},
		{"linelen", i.LineLen, 1024},
		{"network", i.Network, "Two Words"},
		{"client tags", i.ClientTags, false},
		{"op", i.isOp("@"), true},
		{"half-op is none", i.isOp("%+"), false},
		{"founder is op", i.isOp("~"), true},
		{"a list takes a parameter", i.modeKind('b'), modeList},
		{"a key takes one always", i.modeKind('k'), modeParam},
		{"a limit when set", i.modeKind('l'), modeSet},
		{"flag", i.modeKind('A'), modeFlag},
		{"channel", i.IsChannel("#x"), true},
		{"no channel", i.IsChannel("&x"), false},
		{"bot", i.Bot, "B"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
	i.Apply("-PREFIX")
	i.Apply("-BOT")
	if i.PrefixSigns != "@+" || i.Bot != "" {
		t.Errorf("after removal: %q %q", i.PrefixSigns, i.Bot)
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		m        Casemapping
		in, want string
	}{
		{ASCII, "#Dev[]\\~Ä", "#dev[]\\~Ä"},
		{RFC1459, "#Dev[]\\~", "#dev{}|^"},
		{RFC1459Strict, "#Dev[]\\~", "#dev{}|~"},
	} {
		if got := tt.m.Fold(tt.in); got != tt.want {
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
			st.isupport.Apply(token)
		}
		if len(st.isupport.PrefixModes) != len(st.isupport.PrefixSigns) {
			t.Fatalf("prefix modes %q, signs %q", st.isupport.PrefixModes, st.isupport.PrefixSigns)
		}
		st.names(c, "@+a b!c@d %e")
		st.mode(c, "+ovbklmn-o"+line, []string{"a", "b", "x", "key", "5"})
		st.isupport.isOp("@")
	})
}
