package config

// Options are what Load takes besides the file. The zero value reads no
// environment.
type Options struct {
	// Environ is the environment, as os.Environ returns it.
	Environ []string
	// Flags override single values by key path, as "log.level"; Pos then names
	// the flag.
	Flags map[string]string
	// CheckTemplate tells what is wrong with a show.irc or show.xmpp template;
	// nil: it is only checked for {text}.
	CheckTemplate func(template string) error
}

// Load reads, checks and completes the file. The error is an Errors with
// everything that is wrong; nothing but the config itself, the files it names
// and opt is read, and nothing is written.
func Load(path string, opt Options) (*Config, error) {
	return nil, Errors{{Pos: Pos{File: path}, What: "not readable yet"}}
}
