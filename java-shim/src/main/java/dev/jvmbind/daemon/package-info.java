/** What runs a commons-daemon class in the place of a main class. Started by jvmbind, not for programs. */
package dev.jvmbind.daemon;
