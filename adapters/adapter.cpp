// Returns, GAE and PPO's loss in C++17, as a candidate: an adapter to start yours from.
//
//     c++ -std=c++17 -O2 adapter.cpp -o adapter
//     python -m rlspec check "cmd: ./adapter"
//
// What it answers, and to what, is said in README.md beside this file.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "json.hpp"

// Writing: numbers, arrays and texts as the protocol has them.

std::string written(double number) {
    if (std::isnan(number)) return "\"nan\"";
    if (std::isinf(number)) return number > 0 ? "\"inf\"" : "\"-inf\"";
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.17g", number);
    return digits;
}

std::string written(const std::string& text) {
    std::string quoted = "\"";
    for (char sign : text) {
        if (sign == '"' || sign == '\\') quoted += '\\';
        quoted += static_cast<unsigned char>(sign) < ' ' ? ' ' : sign;
    }
    return quoted + '"';
}

template <typename Entry>
std::string listed(const std::vector<Entry>& entries) {
    std::string text = "[";
    for (const Entry& entry : entries) text += (text.size() > 1 ? "," : "") + written(entry);
    return text + "]";
}

// An array comes as {dtype, shape, data}.  These operations are about rows, [B, T].

struct Rows {
    std::size_t height, width;
    std::vector<double> data;

    explicit Rows(const Json& array)
        : height(array["shape"].list().at(0).number()), width(array["shape"].list().at(1).number()) {
        for (const Json& entry : array["data"].list()) data.push_back(entry.number());
    }

    Rows(std::size_t height, std::size_t width) : height(height), width(width), data(height * width) {}

    double& operator()(std::size_t row, std::size_t step) { return data[row * width + step]; }
    double operator()(std::size_t row, std::size_t step) const { return data[row * width + step]; }

    std::string written() const {
        return "{\"dtype\":\"float64\",\"shape\":[" + std::to_string(height) + "," + std::to_string(width) +
               "],\"data\":" + listed(data) + "}";
    }
};

// The operations: your own code is called here.

Rows summed(const Rows& rewards, double gamma) {
    Rows returns(rewards.height, rewards.width);
    for (std::size_t b = 0; b < rewards.height; ++b) {
        double following = 0;
        for (std::size_t t = rewards.width; t-- > 0;) returns(b, t) = following = rewards(b, t) + gamma * following;
    }
    return returns;
}

std::string reward_to_go(const Json& given) {
    return summed(Rows(given["rewards"]), given["gamma"].number()).written();
}

std::string discounted_return(const Json& given) {
    Rows returns = summed(Rows(given["rewards"]), given["gamma"].number());
    std::vector<double> first;
    for (std::size_t b = 0; b < returns.height; ++b) first.push_back(returns.width ? returns(b, 0) : 0);
    return "{\"dtype\":\"float64\",\"shape\":[" + std::to_string(first.size()) + "],\"data\":" + listed(first) + "}";
}

std::string gae(const Json& given) {
    Rows rewards(given["rewards"]), values(given["values"]), next_values(given["next_values"]);
    Rows terminated(given["terminated"]), truncated(given["truncated"]);
    double gamma = given["gamma"].number(), lam = given["lam"].number();
    Rows advantages(rewards.height, rewards.width);
    for (std::size_t b = 0; b < rewards.height; ++b) {
        double carry = 0;
        for (std::size_t t = rewards.width; t-- > 0;) {
            bool ends = terminated(b, t) != 0, cut = truncated(b, t) != 0;
            double delta = rewards(b, t) - values(b, t) + (ends ? 0 : gamma * next_values(b, t));
            carry = delta + (ends || cut ? 0 : gamma * lam * carry);
            advantages(b, t) = carry;
        }
    }
    return advantages.written();
}

std::string ppo_loss(const Json& given) {
    Rows logp(given["logp"]), old_logp(given["old_logp"]), advantages(given["advantages"]), mask(given["mask"]);
    double clip_low = given["clip_low"].number(), clip_high = given["clip_high"].number();
    double count = std::count_if(mask.data.begin(), mask.data.end(), [](double flag) { return flag != 0; });
    Rows slopes(logp.height, logp.width);
    double loss = 0;
    for (std::size_t place = 0; place < mask.data.size(); ++place) {
        if (mask.data[place] == 0) continue;
        double ratio = std::exp(logp.data[place] - old_logp.data[place]), advantage = advantages.data[place];
        double clipped = std::clamp(ratio, 1 - clip_low, 1 + clip_high);
        double gain = advantage == 0 ? 0 : ratio * advantage;  // a ratio may be infinite
        double objective = std::min(gain, clipped * advantage);
        double slope = gain == objective ? gain : 0;
        if (!given["dual_clip"].is_null() && advantage < 0) {
            double least = given["dual_clip"].number() * advantage;
            if (least > objective) objective = least, slope = 0;
        }
        loss -= objective / count;
        slopes.data[place] = -slope / count;
    }
    return "{\"loss\":" + written(loss) + ",\"d_logp\":" + slopes.written() + "}";
}

// The conversation: a line in, a line out for each call in it.

const std::map<std::string, std::function<std::string(const Json&)>> operations = {
    {"discounted_return", discounted_return}, {"gae", gae}, {"ppo_loss", ppo_loss}, {"reward_to_go", reward_to_go}};

std::string answer(const Json& call) {
    std::string id = "{\"id\":" + written(call["id"].number());
    try {
        return id + ",\"result\":" + operations.at(call["operation"].text())(call["arguments"]) + "}\n";
    } catch (const std::exception& error) {
        return id + ",\"error\":" + written(std::string(error.what())) + "}\n";
    }
}

int main() {
    std::vector<std::string> names;
    for (const auto& [name, function] : operations) names.push_back(name);
    for (std::string line; std::getline(std::cin, line);) {
        Json message = Reader(line).read();
        std::string answers;
        if (message.has("hello")) answers = "{\"hello\":1,\"name\":\"C++\",\"operations\":" + listed(names) + "}\n";
        if (message.has("calls"))
            for (const Json& call : message["calls"].list()) answers += answer(call);
        std::cout << answers << std::flush;
    }
}
