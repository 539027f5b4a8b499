// As much of JSON as the messages of README.md need.  A program that has a JSON library uses that.

#pragma once

#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

struct Json {
    using List = std::vector<Json>;
    using Object = std::map<std::string, Json>;
    std::variant<std::nullptr_t, bool, double, std::string, List, Object> value;

    bool is_null() const { return std::holds_alternative<std::nullptr_t>(value); }
    const std::string& text() const { return std::get<std::string>(value); }
    const List& list() const { return std::get<List>(value); }
    const Object& object() const { return std::get<Object>(value); }
    bool has(const std::string& name) const { return object().count(name) > 0; }
    const Json& operator[](const std::string& name) const { return object().at(name); }

    // A number, a truth value as 0 or 1, or what stands for numbers that JSON does not have.
    double number() const {
        if (const bool* flag = std::get_if<bool>(&value)) return *flag;
        if (const std::string* word = std::get_if<std::string>(&value)) return std::strtod(word->c_str(), nullptr);
        return std::get<double>(value);
    }
};

class Reader {
public:
    explicit Reader(const std::string& text) : at(text.c_str()) {}

    Json read() {
        skip();
        if (*at == '{') return {object()};
        if (*at == '[') return {list()};
        if (*at == '"') return {word()};
        if (literal("null")) return {nullptr};
        if (literal("true")) return {true};
        if (literal("false")) return {false};
        char* end;
        double number = std::strtod(at, &end);
        if (end == at) throw std::runtime_error("no JSON");
        at = end;
        return {number};
    }

private:
    const char* at;

    void skip() {
        while (*at == ' ' || *at == '\t' || *at == '\r') ++at;
    }

    bool next(char sign) {
        skip();
        if (*at != sign) return false;
        ++at;
        return true;
    }

    void expect(char sign) {
        if (!next(sign)) throw std::runtime_error(std::string("no JSON: ") + sign + " is missing");
    }

    bool literal(const std::string& name) {
        if (std::strncmp(at, name.c_str(), name.size()) != 0) return false;
        at += name.size();
        return true;
    }

    Json::Object object() {
        Json::Object found;
        expect('{');
        if (next('}')) return found;
        do {
            skip();
            std::string name = word();
            expect(':');
            found[name] = read();
        } while (next(','));
        expect('}');
        return found;
    }

    Json::List list() {
        Json::List found;
        expect('[');
        if (next(']')) return found;
        do {
            found.push_back(read());
        } while (next(','));
        expect(']');
        return found;
    }

    // Escapes are taken for what follows the backslash: no name that is sent has any.
    std::string word() {
        std::string found;
        expect('"');
        for (; *at && *at != '"'; ++at) {
            if (*at == '\\' && at[1]) ++at;
            found += *at;
        }
        expect('"');
        return found;
    }
};
