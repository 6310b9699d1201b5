package irc

import (
	"strings"

	"drawbridge/policy"
)

// This file is what the network lets a guard do.

// rights are a member's letters of PREFIX.
func (s *state) rights(m *member) string {
	out := make([]byte, 0, 4)
	for i := range len(m.signs) {
		for n := range len(s.isupport.prefixSigns) {
			if s.isupport.prefixSigns[n] == m.signs[i] {
				out = append(out, s.isupport.prefixModes[n])
			}
		}
	}
	return string(out)
}

// channelCaps is what the network lets a guard do.
func (s *session) channelCaps() policy.ChannelCaps {
	i := &s.isupport
	caps := policy.ChannelCaps{
		Software: s.software(), ListModes: i.chanModes[0], FlagModes: i.chanModes[3],
		ParamModes: i.chanModes[1], SetModes: i.chanModes[2], AccountExtban: i.accountBans,
		Modes: i.modes, KickTargets: s.kickTargets(), MaxList: i.maxList, Source: s.source(), Services: s.services.family,
	}
	if i.extBan != nil {
		caps.Extban = true
		caps.ExtbanPrefix, caps.ExtbanTypes = cutExtban(*i.extBan)
	}
	return caps
}

// manyKicks is how many a KICK names where the network sets no limit. ngIRCd takes
// 25 and does not say so.
const manyKicks = 20

func (s *session) kickTargets() int {
	n, told := s.isupport.targMax["KICK"]
	switch {
	case told && n > 0:
		return min(n, manyKicks)
	case told || s.software() == policy.NgIRCd:
		return manyKicks
	case s.isupport.maxTargets > 0:
		return min(s.isupport.maxTargets, manyKicks)
	}
	return 1
}

// cutExtban cuts EXTBAN into its prefix and letters.
func cutExtban(value string) (prefix, letters string) {
	prefix, letters, ok := strings.Cut(value, ",")
	if !ok {
		return "", value
	}
	return prefix, letters
}
