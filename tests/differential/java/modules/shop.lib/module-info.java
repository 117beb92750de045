module shop.lib {
    exports shop.lib;
}
