// Package config reads drawbridge.yaml: strict YAML into plain structs, with
// every mistake told at once, each with its file, line, key and the way out.
//
// What a value means, and how two values must fit together, is checked here,
// offline. What needs a network or a keyring is checked by `drawbridge doctor`
// and at start; [Config.Pos] gives those checks the place of a value in the file.
//
// A secret NAME can stand in the file, beside it as NAME_file, or in the
// environment as DRAWBRIDGE_PATH or DRAWBRIDGE_PATH_FILE, where PATH is the key
// path in capitals with "_" for every other sign; so can listen addresses and
// log settings. The order is flag, environment, file.
package config
