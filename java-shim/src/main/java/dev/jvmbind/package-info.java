/**
 * What a Java program may ask of jvmbind, if it wants to.
 *
 * <p>A program needs none of this to be served: jvmbind hands over its sockets when the program binds
 * them. {@link dev.jvmbind.InheritedChannels} is for code that wants its sockets by name instead of by
 * port number, {@link dev.jvmbind.ServiceLifecycle} for code that knows best when it is ready. The same
 * code runs without jvmbind: there are no names then, and the messages go nowhere.
 *
 * <p>Needs Java 11 and nothing else.
 */
package dev.jvmbind;
