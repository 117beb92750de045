module shop.main {
    requires shop.lib;
    requires java.management;
}
