/** Sockets by name and service messages for programs that jvmbind runs. Both do nothing elsewhere. */
module dev.jvmbind {
    exports dev.jvmbind;
}
