package policy

import (
	"slices"
	"strings"
)

// Software is a family of IRC servers, as their modes and extbans go.
type Software uint8

// The families. Other is asked for nothing but what RFC 1459 has, and what it
// announces.
const (
	Other Software = iota
	InspIRCd
	Solanum // and charybdis: Libera
	UnrealIRCd
	Ergo
	NgIRCd
)

// ParseSoftware finds the family in the version that RPL_MYINFO tells.
func ParseSoftware(version string) Software {
	v := strings.ToLower(version)
	for _, x := range []struct {
		word string
		is   Software
	}{{"inspircd", InspIRCd}, {"solanum", Solanum}, {"charybdis", Solanum}, {"unreal", UnrealIRCd}, {"ergo", Ergo}, {"oragono", Ergo}, {"ngircd", NgIRCd}} {
		if strings.Contains(v, x.word) {
			return x.is
		}
	}
	return Other
}

// ChannelCaps is what a network lets a guard do, as RPL_MYINFO and RPL_ISUPPORT
// tell it. The zero value is a server of RFC 1459.
type ChannelCaps struct {
	Software      Software
	ListModes     string   // CHANMODES, first part; "": b
	FlagModes     string   // CHANMODES, last part; "": imnpst
	ParamModes    string   // CHANMODES, second part: a parameter to set and to take
	SetModes      string   // CHANMODES, third part: a parameter to set
	Extban        bool     // EXTBAN is there
	ExtbanPrefix  string   // EXTBAN before the comma
	ExtbanTypes   string   // EXTBAN after it
	AccountExtban []string // ACCOUNTEXTBAN: the names of the one for accounts
	Modes         int      // MODES: changes in one line; zero: 3
	KickTargets   int      // TARGMAX or MAXTARGETS for KICK; zero: 1
	MaxList       int      // MAXLIST of one list; zero: 30
	Source        int      // bytes of our own nick!user@host; zero: 100
	Services      Services
}

// Services is the family of a network's ChanServ.
type Services uint8

// The families of services.
const (
	NoServices Services = iota
	Atheme
	Anope
)

func (c ChannelCaps) orDefault() ChannelCaps {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&c.Modes, 3)
	set(&c.KickTargets, 1)
	set(&c.MaxList, 30)
	set(&c.Source, 100)
	if c.ListModes == "" {
		c.ListModes = "b"
	}
	if c.FlagModes == "" {
		c.FlagModes = "imnpst"
	}
	return c
}

// hasType reports whether the network has an extban of that letter.
func (c *ChannelCaps) hasType(letter string) bool {
	return c.Extban && strings.Contains(c.ExtbanTypes, letter)
}

// AccountMask returns the list entry that fits an account; false: the network
// has none.
func (c *ChannelCaps) AccountMask(account string) (string, bool) {
	switch {
	case c.Extban && len(c.AccountExtban) > 0: // account-extban of IRCv3
		name := c.AccountExtban[0]
		if i := slices.IndexFunc(c.AccountExtban, func(s string) bool { return len(s) > 1 }); i >= 0 && c.Software == UnrealIRCd {
			name = c.AccountExtban[i]
		}
		return c.ExtbanPrefix + name + ":" + account, true
	case c.Software == InspIRCd && c.hasType("R"):
		return c.ExtbanPrefix + "R:" + account, true
	case c.Software == Solanum && c.hasType("a"), c.Software == UnrealIRCd && c.hasType("a"):
		return c.ExtbanPrefix + "a:" + account, true
	}
	return "", false
}

// UnregisteredMask returns the entry that fits everybody without an account.
func (c *ChannelCaps) UnregisteredMask() (string, bool) {
	switch {
	case c.Software == InspIRCd && c.hasType("U"):
		return c.ExtbanPrefix + "U:*!*@*", true
	case c.Software == Solanum && c.hasType("a"):
		return c.ExtbanPrefix + "~a", true
	case c.Software == UnrealIRCd:
		return c.AccountMask("0")
	}
	return "", false
}

// CertMask returns the entry that fits a certificate.
func (c *ChannelCaps) CertMask(certfp string) (string, bool) {
	switch {
	case c.Software == InspIRCd && c.hasType("z"):
		return c.ExtbanPrefix + "z:" + certfp, true
	case c.Software == UnrealIRCd && c.hasType("S"):
		return c.ExtbanPrefix + "S:" + certfp, true
	}
	return "", false
}

// Mute returns the list and the entry by which a mask may stay but not speak.
func (c *ChannelCaps) Mute(mask string) (list byte, entry string, ok bool) {
	switch {
	case c.Software == Solanum && strings.Contains(c.ListModes, "q"):
		return 'q', mask, true
	case c.Software == InspIRCd && c.hasType("m"), c.Software == Ergo && c.hasType("m"):
		return 'b', c.ExtbanPrefix + "m:" + mask, true
	case c.Software == UnrealIRCd && c.hasType("q"):
		return 'b', c.ExtbanPrefix + "q:" + mask, true
	}
	return 0, "", false
}

// Doors is what a channel shall do by itself, whatever its network calls it.
type Doors struct {
	InviteOnly, Registered, RegisteredSpeak, TLS, Moderated, Secret, NoExternal, TopicByOps bool
	Accounts                                                                                []string // let in through InviteOnly and all bans
}

// Open puts doors into the modes and lists of a channel. What this network
// cannot do is returned in words: the guard has to do it by hand there.
func (c ChannelCaps) Open(d Doors, into *Channel) (cannot []string) {
	c = c.orDefault()
	registered := map[Software]string{Solanum: "r"}[c.Software]
	tls := map[Software]string{InspIRCd: "z", UnrealIRCd: "z", NgIRCd: "z", Solanum: "S"}[c.Software]
	if registered == "" && c.Software != Other {
		registered = "R"
	}
	quiet := map[Software]string{InspIRCd: "M", UnrealIRCd: "M", Ergo: "M", NgIRCd: "M"}[c.Software]
	for _, x := range []struct {
		want        bool
		mode, words string
	}{
		{d.InviteOnly, "i", "invite only"},
		{d.Registered, registered, "for accounts only"},
		{d.TLS, tls, "for TLS only"},
		{d.Moderated, "m", "moderated"},
		{d.Secret, "s", "secret"},
		{d.NoExternal, "n", "closed to lines from outside"},
		{d.TopicByOps, "t", "topic by ops only"},
	} {
		switch {
		case !x.want:
		case x.mode != "" && strings.Contains(c.FlagModes, x.mode):
			into.Set += x.mode
		default:
			cannot = append(cannot, "this network cannot keep a channel "+x.words)
		}
	}
	if d.RegisteredSpeak {
		mask, ok := c.UnregisteredMask()
		switch {
		case quiet != "" && strings.Contains(c.FlagModes, quiet):
			into.Set += quiet
		case ok && c.Software == Solanum && strings.Contains(c.ListModes, "q"):
			into.want('q', mask)
		default:
			cannot = append(cannot, "this network cannot let accounts only speak")
		}
	}
	for _, account := range d.Accounts {
		mask, ok := c.AccountMask(account)
		if !ok {
			return append(cannot, "this network has no lists of accounts: they are invited by hand")
		}
		for _, list := range "eI" {
			if strings.ContainsRune(c.ListModes, list) {
				into.want(byte(list), mask)
			}
		}
	}
	return cannot
}
