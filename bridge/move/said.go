package move

import (
	"slices"
	"strings"
)

// Digits of a fingerprint, of OpenPGP (version 4) and of OTR.
const fingerprintLen = 40

// isHex reports whether s is made of hexadecimal digits alone.
func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == "" }

func isFingerprint(s string) bool { return len(s) == fingerprintLen && isHex(s) }

// fingerprintIn finds a fingerprint in a line, as clients show it: in one piece, in groups
// or with colons. It returns it in capitals without them; "" where there is none.
func fingerprintIn(words []string) string {
	run := ""
	for _, w := range append(slices.Clone(words), "") {
		w = strings.TrimPrefix(strings.TrimPrefix(strings.ReplaceAll(strings.Trim(w, ".,;<>()"), ":", ""), "0x"), "0X")
		if isHex(w) {
			run += w
			continue
		}
		if isFingerprint(run) {
			return strings.ToUpper(run)
		}
		run = ""
	}
	return ""
}

// grouped writes a fingerprint in groups of eight digits.
func grouped(fpr string) string {
	var parts []string
	for part := range slices.Chunk([]byte(fpr), 8) {
		parts = append(parts, string(part))
	}
	return strings.Join(parts, " ")
}

// secrets are words before what should not be said here.
var secrets = []string{"password", "passwort", "kennwort", "passphrase", "identify"}

// secretIn says what to answer where a line seems to hold a password or a key, as a key
// of the texts; "" where it does not. What was said went over IRC already: people are told
// what to do about that.
func secretIn(words []string) string {
	switch line := strings.Join(words, " "); {
	case strings.Contains(line, "-----BEGIN") && strings.Contains(line, "PRIVATE KEY"):
		return "secret_key"
	case strings.Contains(line, "-----BEGIN"):
		return "key_pasted"
	}
	if len(words) > 1 && slices.ContainsFunc(words, func(w string) bool {
		return slices.Contains(secrets, strings.Trim(strings.ToLower(w), ".,;:!?=\"'"))
	}) {
		return "secret_password"
	}
	return ""
}

// noise reports whether a line is the inside of a key that was pasted: its first line has
// been answered.
func noise(words []string) bool {
	if len(words) != 1 {
		return len(words) > 0 && strings.HasPrefix(words[0], "-----END")
	}
	w := words[0]
	if isHex(w) {
		return false // of another length than a fingerprint: they are told
	}
	base64 := strings.Trim(w, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == ""
	return base64 && (len(w) >= 48 || len(w) == 5 && w[0] == '=')
}
