// Package apikey is the kind of credential that scripts and machines hold: keys that
// the operator makes, and whose hash the service knows.
//
// A key has one form, with 256 random bits, and nothing else counts as one: a hash says
// nothing about a secret that people make up. Its invariant: what a Store no longer
// holds as it was is withdrawn, also where it was remembered; and no key is written
// anywhere, only its name.
package apikey
