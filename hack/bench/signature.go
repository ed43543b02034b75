//go:build linux

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"runtime"
	"syscall"
	"time"
)

// newVerification returns a function that takes the CPU time of n RS256
// verifications by the standard library: the yardstick for a token's first use.
func newVerification() (func(n int) (time.Duration, error), error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, err
	}
	return timed(func() error { return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature) }), nil
}

// newES256 returns a function that verifies an ES256 signature by the standard library.
func newES256() (func() error, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	return func() error {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return errors.New("the signature does not hold")
		}
		return nil
	}, nil
}

// timed returns a function that takes the CPU time of n calls of verify, on one thread.
func timed(verify func() error) func(n int) (time.Duration, error) {
	return func(n int) (time.Duration, error) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began, err := threadTime()
		if err != nil {
			return 0, err
		}
		for range n {
			if err := verify(); err != nil {
				return 0, err
			}
		}
		ended, err := threadTime()
		return ended - began, err
	}
}

func threadTime() (time.Duration, error) {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	err := syscall.Getrusage(thread, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
